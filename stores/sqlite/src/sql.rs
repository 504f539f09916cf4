//! The statements, one a file in `sql/`, named after what they answer.

macro_rules! statements {
    ($($name:ident = $file:literal;)*) => {
        $(pub(crate) const $name: &str = include_str!(concat!("../sql/", $file, ".sql"));)*
    };
}

statements! {
    BEGIN = "begin";
    BEGIN_READ = "begin_read";
    BLOB = "blob";
    CHECKPOINT = "checkpoint";
    CHECKPOINT_REVISION = "checkpoint_revision";
    CHECKPOINTS = "checkpoints";
    COMMIT = "commit";
    COUNT_DOCUMENTS = "count_documents";
    COUNT_DOCUMENTS_BY_FIELD = "count_documents_by_field";
    COUNT_DOCUMENTS_BY_NAMESPACE = "count_documents_by_namespace";
    COUNT_DUE_BY_QUEUE = "count_due_by_queue";
    COUNT_EVENTS = "count_events";
    COUNT_FIELDS = "count_fields";
    COUNT_IDS = "count_ids";
    COUNT_NAMES = "count_names";
    COUNT_STREAMS = "count_streams";
    DATA_VERSION = "data_version";
    DELETE_BLOB = "delete_blob";
    DELETE_DOCUMENT = "delete_document";
    DELETE_DUE = "delete_due";
    DELETE_FIELD = "delete_field";
    DOCUMENT = "document";
    DOCUMENT_BEFORE = "document_before";
    DOCUMENT_ENTRIES = "document_entries";
    DOCUMENT_VERSION = "document_version";
    DOCUMENTS = "documents";
    DOCUMENTS_BY_FIELD = "documents_by_field";
    DUE = "due";
    DUE_EXISTS = "due_exists";
    EVENT = "event";
    EVENTS_DOWN = "events_down";
    EVENTS_UP = "events_up";
    FIELD_EXISTS = "field_exists";
    HEAD = "head";
    IDS_ASTRAY = "ids_astray";
    IDS_FROM = "ids_from";
    INSERT_EVENT = "insert_event";
    INSERT_FIELD = "insert_field";
    INSERT_ID = "insert_id";
    INSERT_NAME = "insert_name";
    INSERT_SOURCE = "insert_source";
    INSERT_STREAM = "insert_stream";
    INSERT_TENANT = "insert_tenant";
    INSERT_TERM = "insert_term";
    INTEGRITY = "integrity";
    LARGEST_ID_KEY = "largest_id_key";
    LAST_RECORDED = "last_recorded";
    LEASE = "lease";
    LEASES_OF_NODE = "leases_of_node";
    NAMES_AFTER = "names_after";
    NEXT_ZONE = "next_zone";
    PREVIOUS_ZONE = "previous_zone";
    PUT_BLOB = "put_blob";
    PUT_CHECKPOINT = "put_checkpoint";
    PUT_DOCUMENT = "put_document";
    PUT_DUE = "put_due";
    PUT_LEASE = "put_lease";
    PUT_PLAIN_DOCUMENT = "put_plain_document";
    RECORDED_AT = "recorded_at";
    RELEASE_LEASE = "release_lease";
    REVISION = "revision";
    ROLLBACK = "rollback";
    SCHEMA = "schema";
    SET_REVISION = "set_revision";
    SET_STORE = "set_store";
    SOURCE_BY_ID = "source_by_id";
    SOURCE_BY_NAME = "source_by_name";
    STREAM_BY_ID = "stream_by_id";
    STREAM_BY_NAME = "stream_by_name";
    STREAM_DOWN = "stream_down";
    STREAM_HEAD = "stream_head";
    STREAM_UP = "stream_up";
    TABLES = "tables";
    TENANTS_AFTER = "tenants_after";
    TERM_DOWN = "term_down";
    TERM_EXISTS = "term_exists";
    TERM_UP = "term_up";
    TIMES_BETWEEN = "times_between";
    VERSIONS = "versions";
    VERSIONS_DOWN = "versions_down";
    VERSIONS_UP = "versions_up";
    WIDEN_ZONE = "widen_zone";
    ZONE = "zone";
}
