"""The main job on a real server: back up, go on, delete, wreck, restore."""
