//! Two versions on one database, as while one is replaced by the other. Migrations
//! expand (a column with a default, a table, an index); they contract only when no
//! version that needs what goes may run any more.

use sqlx::types::time::OffsetDateTime;
use sqlx::{Connection as _, PgConnection, Row as _};
use tests::{Client, Request, Target};
use uuid::Uuid;

use crate::rig::{Ground, Load};

/// A newer version's migration, as this version knows none.
const NEWER: &str = "
    ALTER TABLE files ADD COLUMN note text NOT NULL DEFAULT '';
    CREATE INDEX files_note ON files (note);
    INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
    VALUES (9000, 'newer', true, '', 0);
";

async fn connect(ground: &Ground) -> PgConnection {
    PgConnection::connect(ground.url()).await.unwrap()
}

async fn ask(server: &Target, request: Request) -> (u16, String) {
    let mut client = Client::connect(server.address).await.unwrap();
    let answer = client.exchange(&request).await.unwrap();
    (answer.status, answer.text())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_survives_the_migration_of_a_newer_version() {
    let ground = Ground::new().await;
    let server = ground.server(&[]);
    let load = Load::start(server.address);
    let created = async |count| {
        tests::eventually("the load goes on", async || load.told().created.len() > count).await;
        load.told().created.len()
    };
    let before = created(20).await;
    let mut connection = connect(&ground).await;
    sqlx::raw_sql(NEWER).execute(&mut connection).await.unwrap();
    created(before + 50).await;
    let told = load.end().await;
    assert_eq!((told.wrong, told.broken), (vec![], 0));
    assert!(told.statuses.keys().all(|status| *status < 500), "{:?}", told.statuses);
    // It is rolled back to: migrated, checked, started.
    assert!(server.stop().success());
    for command in ["migrate", "check"] {
        assert!(ground.command().arg(command).status().unwrap().success(), "{command}");
    }
    let server = ground.server(&[]);
    assert_eq!(ask(&server, Request::post("/v1/files?name=a", "hello")).await.0, 201);
    assert!(server.stop().success());
    assert!(ground.is_whole().await);
}

/// The statements of the first version, whose schema was migration 1 alone, go
/// through on this version's schema. They stay here for as long as it may run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_older_version_asks_is_answered() {
    let ground = Ground::new().await;
    let server = ground.server(&[]);
    let mut connection = connect(&ground).await;
    let id = Uuid::now_v7();
    std::fs::write(ground.content().join(id.to_string()), "hello").unwrap();
    let row = sqlx::query(
        "INSERT INTO files (id, name, content_type, size, sha256)
         VALUES ($1, $2, $3, $4, $5) RETURNING created_at",
    )
    .bind(id)
    .bind("old")
    .bind("text/plain")
    .bind(5_i64)
    .bind(crate::rig::load::sha256(b"hello"))
    .fetch_one(&mut connection)
    .await
    .unwrap();
    let created: OffsetDateTime = row.get(0);
    let path = format!("/v1/files/{id}");
    let (status, record) = ask(&server, Request::get(&path)).await;
    assert_eq!(status, 200, "{record}");
    assert_eq!(ask(&server, Request::get(format!("{path}/content"))).await.1, "hello");

    // What this version writes, the first one reads.
    assert_eq!(ask(&server, Request::patch(&path, r#"{"name":"new"}"#)).await.0, 200);
    let select = "SELECT id, name, content_type, size, sha256, created_at
                  FROM files WHERE id = $1 LIMIT 1";
    let row = sqlx::query(select).bind(id).fetch_one(&mut connection).await.unwrap();
    assert_eq!(row.get::<String, _>("name"), "new");
    assert_eq!(row.get::<OffsetDateTime, _>("created_at"), created);
    let candidates = r#"SELECT candidate AS "candidate!" FROM unnest($1::uuid[]) AS candidate
                        WHERE NOT EXISTS (SELECT FROM files WHERE files.id = candidate)"#;
    let query = sqlx::query_scalar::<_, Uuid>(candidates).bind(vec![id]);
    assert_eq!(query.fetch_optional(&mut connection).await.unwrap(), None);

    // What it deletes, this version forgets, though it has it in its cache.
    assert_eq!(ask(&server, Request::get(&path)).await.0, 200);
    let delete = sqlx::query("DELETE FROM files WHERE id = $1").bind(id);
    assert_eq!(delete.execute(&mut connection).await.unwrap().rows_affected(), 1);
    std::fs::remove_file(ground.content().join(id.to_string())).unwrap();
    tests::eventually("it is forgotten", async || ask(&server, Request::get(&path)).await.0 == 404)
        .await;
    assert!(server.stop().success());
}
