-- The only role that removes events. `immutable retention run` uses it, and nothing else should.
CREATE ROLE IF NOT EXISTS immutable_retention;
GRANT SELECT ON immutable.* TO immutable_retention;
GRANT INSERT ON immutable.boundaries TO immutable_retention;
GRANT INSERT ON immutable.restored_events TO immutable_retention;
GRANT ALTER DELETE ON immutable.events TO immutable_retention;
