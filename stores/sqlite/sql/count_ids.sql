SELECT count(*) FROM ids WHERE position >= (SELECT min(position) FROM events)
