INSERT INTO meta (name, value) VALUES ('store', ?1)
