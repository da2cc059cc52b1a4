from typing import Any

def client(
    service_name: str,
    *,
    endpoint_url: str | None = ...,
    region_name: str | None = ...,
    aws_access_key_id: str | None = ...,
    aws_secret_access_key: str | None = ...,
    verify: bool | str | None = ...,
    config: Any = ...,
) -> Any: ...
