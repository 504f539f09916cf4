//! Rows about lists of documents: order, prefix, index, paging and counts.

use tidings_core::{BlindChange, Commit, DocumentChange, DocumentWrite, Text};

use super::{
    Fresh,
    kit::{Failed, Outcome, put, put_json, same, write},
};
use crate::{AnyStore, DocumentQuery};

table![
    "listing: in order of ids, byte by byte" => ordered,
    "listing: by prefix, taken literally" => prefix,
    "listing: after an id, up to a limit, page by page" => paged,
    "listing: by an indexed field's text" => by_field,
    "listing: the index follows every change" => index_follows,
    "listing: prefix, field and place together" => together,
    "listing: counts do not stop at the limit" => counts,
    "listing: of one namespace" => of_one_namespace,
    "listing: documents come whole" => whole,
];

async fn list(store: &AnyStore, query: DocumentQuery) -> Result<Vec<String>, Failed> {
    let found = store.documents(&query).await?;
    Ok(found.iter().map(|document| document.key.id.to_string()).collect())
}

fn view() -> DocumentQuery {
    DocumentQuery::all("view")
}

fn beginning(prefix: &str) -> DocumentQuery {
    DocumentQuery { prefix: Text::from(prefix), ..view() }
}

fn having(field: &str, value: &str) -> DocumentQuery {
    DocumentQuery { field: Some((Text::from(field), Text::from(value))), ..view() }
}

fn indexed(id: &str, change: DocumentChange, fields: &[&str]) -> Commit {
    let fields = fields.iter().map(|field| Text::from(*field)).collect();
    Commit { documents: vec![DocumentWrite { indexed: fields, ..write(id, change) }], ..Commit::default() }
}

async fn fill(store: &AnyStore, ids: &[&str]) -> Outcome {
    for id in ids {
        store.apply(put(id, "{}")).await?;
    }
    Ok(())
}

async fn ordered(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    same("nothing", list(store, view()).await?, Vec::<String>::new())?;
    let mut ids = vec!["b", "a", "B", "10", "9", "é", "z", "a b", "a-b", "aa", "🦀", "\u{ffff}", "_", "~"];
    fill(store, &ids).await?;
    ids.sort_unstable();
    same("by bytes", list(store, view()).await?, ids)
}

async fn prefix(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    fill(
        store,
        &[
            "a",
            "a%",
            "a%b",
            "aXb",
            "a_",
            "a*",
            "a[x]",
            "A",
            "ab",
            "b",
            "é",
            "éa",
            "e",
            "a\u{10ffff}",
            "a\u{10ffff}z",
        ],
    )
    .await?;
    for (prefix, wanted) in [
        ("a%", &["a%", "a%b"][..]),
        ("a_", &["a_"]),
        ("a*", &["a*"]),
        ("a[", &["a[x]"]),
        ("A", &["A"]),
        ("é", &["é", "éa"]),
        ("a\u{10ffff}", &["a\u{10ffff}", "a\u{10ffff}z"]),
        ("ab", &["ab"]),
        ("abc", &[]),
    ] {
        same(prefix, list(store, beginning(prefix)).await?, wanted)?;
        same("counted", store.count_documents(&beginning(prefix)).await?, wanted.len() as u64)?;
    }
    same("a and what follows", list(store, beginning("a")).await?.len(), 10)
}

async fn paged(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let ids: Vec<String> = (0..25).map(|at| format!("d{at:02}")).collect();
    fill(store, &ids.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    for limit in [1, 2, 10, 25, 26] {
        let (mut seen, mut after) = (Vec::new(), None);
        for _ in 0..=ids.len() {
            let page = list(store, DocumentQuery { after: after.clone(), limit, ..view() }).await?;
            ensure!(page.len() <= limit, "{} documents in a page of {limit}", page.len());
            let Some(last) = page.last() else { break };
            after = Some(Text::from(last.as_str()));
            seen.extend(page);
        }
        same("all pages", &seen, &ids)?;
    }
    let between = DocumentQuery { after: Some(Text::from("d07x")), limit: 2, ..view() };
    same("after what is not there", list(store, between).await?, ["d08", "d09"])?;
    let before = DocumentQuery { after: Some(Text::from("a")), ..beginning("d0") };
    same("after what is before the prefix", list(store, before).await?.len(), 10)?;
    let zero = list(store, DocumentQuery { limit: 0, ..view() }).await?;
    same("a limit of nothing is one", zero, ["d00"])
}

async fn by_field(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let all = ["s", "n", "b", "x"];
    for (id, json) in [
        ("1", r#"{"s":"one","n":1,"b":true,"x":null}"#),
        ("2", r#"{"s":"One","n":1.5,"b":false,"x":[1]}"#),
        ("3", r#"{"s":"","n":-1,"unindexed":"one"}"#),
        ("4", r#"{"s":"one","n":"1"}"#),
        ("5", r#"["one"]"#),
    ] {
        store.apply(indexed(id, put_json(json), &all)).await?;
    }
    store.apply(indexed("6", put_json(r#"{"s":"one"}"#), &[])).await?;
    for (field, value, wanted) in [
        ("s", "one", &["1", "4"][..]),
        ("s", "One", &["2"]),
        ("s", "", &["3"]),
        ("s", "on", &[]),
        ("n", "1", &["1", "4"]),
        ("n", "1.5", &["2"]),
        ("n", "-1", &["3"]),
        ("b", "true", &["1"]),
        ("b", "false", &["2"]),
        ("x", "null", &[]),
        ("x", "[1]", &[]),
        ("unindexed", "one", &[]),
        ("never", "one", &[]),
    ] {
        let what = format!("{field} is {value}");
        same(&what, list(store, having(field, value)).await?, wanted)?;
        same(&what, store.count_documents(&having(field, value)).await?, wanted.len() as u64)?;
    }
    Ok(())
}

async fn index_follows(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    let check = |step: &'static str, a: &'static [&'static str], b: &'static [&'static str]| async move {
        same(&format!("a, {step}"), list(store, having("s", "a")).await?, a)?;
        same(&format!("b, {step}"), list(store, having("s", "b")).await?, b)
    };
    let state = |json| put_json(json);
    store.apply(indexed("1", state(r#"{"s":"a"}"#), &["s"])).await?;
    store.apply(indexed("2", state(r#"{"s":"a"}"#), &["s"])).await?;
    check("put", &["1", "2"], &[]).await?;
    store.apply(indexed("1", state(r#"{"s":"b"}"#), &["s"])).await?;
    check("replaced", &["2"], &["1"]).await?;
    let merge = BlindChange::Merge(bytes::Bytes::from_static(br#"{"s":"b"}"#));
    store.apply(indexed("2", DocumentChange::Blind(vec![merge]), &["s"])).await?;
    check("merged", &[], &["1", "2"]).await?;
    store.apply(indexed("1", DocumentChange::Delete, &["s"])).await?;
    check("deleted", &[], &["2"]).await?;
    store.apply(indexed("2", state(r#"{"s":"b"}"#), &["other"])).await?;
    check("indexed by something else", &[], &[]).await?;
    store.apply(indexed("1", state(r#"{"s":"a","t":"x"}"#), &["s", "t"])).await?;
    check("put again", &["1"], &[]).await?;
    let wrong = indexed("1", state(r#"{"s":"b"}"#), &["s"]);
    let wrong = Commit {
        documents: vec![DocumentWrite { expected: Some(0), ..wrong.documents[0].clone() }],
        ..wrong
    };
    ensure!(store.apply(wrong).await.is_err(), "a wrong version was accepted");
    check("after a conflict", &["1"], &[]).await
}

async fn together(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    for id in ["a1", "a2", "a3", "a4", "b1", "b2"] {
        let state = if id == "a3" { "shut" } else { "open" };
        store.apply(indexed(id, put_json(&format!(r#"{{"s":"{state}"}}"#)), &["s"])).await?;
    }
    let open = having("s", "open");
    let of_a = DocumentQuery { prefix: Text::from("a"), ..open.clone() };
    same("prefix", list(store, of_a.clone()).await?, ["a1", "a2", "a4"])?;
    let after = DocumentQuery { after: Some(Text::from("a1")), ..of_a.clone() };
    same("after", list(store, after.clone()).await?, ["a2", "a4"])?;
    same("limit", list(store, DocumentQuery { limit: 1, ..after.clone() }).await?, ["a2"])?;
    same("counted", store.count_documents(&DocumentQuery { limit: 1, ..after }).await?, 2)?;
    let after = DocumentQuery { after: Some(Text::from("a4")), ..open };
    same("over prefixes", list(store, after).await?, ["b1", "b2"])
}

async fn counts(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    same("nothing", store.count_documents(&view()).await?, 0)?;
    fill(store, &["a", "b", "c", "d"]).await?;
    for limit in [0, 1, 4, 9] {
        same("all", store.count_documents(&DocumentQuery { limit, ..view() }).await?, 4)?;
    }
    store.apply(indexed("b", DocumentChange::Delete, &[])).await?;
    same("after a delete", store.count_documents(&view()).await?, 3)?;
    same("of another", store.count_documents(&DocumentQuery::all("vie")).await?, 0)
}

async fn of_one_namespace(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    for (namespace, id) in [("view", "1"), ("view2", "2"), ("View", "3"), ("vie", "w4")] {
        let mut put = indexed(id, put_json(r#"{"s":"x"}"#), &["s"]);
        put.documents[0].key.namespace = Text::from(namespace);
        store.apply(put).await?;
    }
    for (namespace, wanted) in
        [("view", &["1"][..]), ("view2", &["2"]), ("View", &["3"]), ("vie", &["w4"]), ("v", &[])]
    {
        same(namespace, list(store, DocumentQuery::all(namespace)).await?, wanted)?;
        let field = Some((Text::from("s"), Text::from("x")));
        same(
            namespace,
            list(store, DocumentQuery { field, ..DocumentQuery::all(namespace) }).await?,
            wanted,
        )?;
    }
    Ok(())
}

async fn whole(fresh: Fresh) -> Outcome {
    let store = &fresh.store;
    store.apply(put("1", r#"{"n":1}"#)).await?;
    store.apply(indexed("2", put_json(r#"{"n":2}"#), &["n"])).await?;
    let listed = store.documents(&view()).await?;
    same("listed", listed.len(), 2)?;
    for document in listed {
        let alone = store.document(&tidings_core::Tenant::default(), &document.key).await?;
        same("listed and alone", Some(document), alone)?;
    }
    Ok(())
}
