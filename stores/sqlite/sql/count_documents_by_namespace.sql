SELECT namespace, count(*) FROM documents GROUP BY namespace ORDER BY namespace
