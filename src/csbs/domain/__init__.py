"""Rules and values of csbs: frozen data and pure functions, standard library only."""
