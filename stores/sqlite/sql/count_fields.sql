SELECT count(*) FROM document_fields
