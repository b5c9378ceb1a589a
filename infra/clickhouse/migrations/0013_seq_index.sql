-- An event by its number: numbers rise with the sort key, so that the bounds of each granule find it.
ALTER TABLE immutable.events ADD INDEX IF NOT EXISTS seq_index seq TYPE minmax GRANULARITY 1;

-- For what is stored already, in the background; until then a look-up reads the numbers of all events.
ALTER TABLE immutable.events MATERIALIZE INDEX seq_index;
