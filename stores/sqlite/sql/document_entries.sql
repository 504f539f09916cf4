SELECT tenant, namespace, id, version, indexed FROM documents
