//! A pipeline of orders whose dead letters go into a table.

use std::collections::BTreeSet;

use crate::dlq::scene::Scene;
use crate::support::broker::Kind;
use crate::support::database::Server;

/// The table's name by default.
pub const LETTERS: &str = "orders_dead_letters";

/// Keys of the pipeline `orders`.
pub const TO_TABLE: &str = "\n[pipelines.orders.dead_letter]\nto = \"table\"\n";

/// Its dead letters go into a table; there is no dead-letter queue at all.
pub async fn scene(server: Server, options: &str) -> Scene {
    let scene = Scene::with(Kind::Quorum, server, &format!("{options}{TO_TABLE}")).await;
    scene.broker.delete(&scene.dead).await;
    scene
}

/// The message IDs of the letters, by SQL.
pub async fn letters(scene: &Scene) -> BTreeSet<String> {
    let rows = scene.database.table(LETTERS, &["message_id"]).await;
    let ids: BTreeSet<String> = rows.iter().filter_map(|row| row[0].clone()).collect();
    assert_eq!(ids.len(), rows.len(), "each once");
    ids
}

/// One column of the letters as text, sorted.
pub async fn column(scene: &Scene, column: &str) -> Vec<Option<String>> {
    let rows = scene.database.table(LETTERS, &[column]).await;
    rows.into_iter().map(|mut row| row.remove(0)).collect()
}

/// Everything that stands in the table but its bodies.
pub async fn contents(scene: &Scene) -> Vec<Vec<Option<String>>> {
    let columns = ["seq", "id", "replays", "failed_at", "properties", "headers", "chosen", "length(body)"];
    scene.database.table(LETTERS, &columns).await
}

/// The database no longer refuses [`crate::dlq::scene::Bad::Negative`].
pub async fn mend(scene: &Scene, server: Server) {
    if server != Server::Sqlite {
        return scene.database.execute("ALTER TABLE orders DROP CONSTRAINT positive").await;
    }
    // SQLite can't drop a CHECK.
    scene.database.execute("ALTER TABLE orders RENAME TO old").await;
    let table = crate::main_job::orders::table(server).replace("CONSTRAINT positive CHECK (quantity > 0)", "");
    scene.database.execute(&table).await;
    scene.database.execute("INSERT INTO orders SELECT * FROM old").await;
}
