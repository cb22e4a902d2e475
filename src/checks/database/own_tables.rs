//! The tables that the worker makes for itself: the ledger, and dead letters.

use super::{Look, Purpose};
use crate::catalogue::TableName;
use crate::checks::Finding;
use crate::config::{DeadLetter, Deduplicate};
use crate::error::{ErrorClass, Failure};
use crate::plan::Ledger;
use crate::sink::{Access, LETTERS_MISSING, LedgerIdentity, Opening, Session};

impl Look<'_> {
    /// The ledger as far as it is there. What the worker would make isn't wrong.
    pub(super) async fn ledger(&mut self, session: &mut dyn Session) -> Result<Option<Ledger>, Failure> {
        if self.pipeline.deduplicate != Deduplicate::Ledger {
            return Ok(None);
        }
        let name = &self.config.ledger_table;
        let identity = LedgerIdentity {
            pipeline: self.pipeline.name.clone(),
            queue: self.pipeline.queue.clone(),
            table: self.pipeline.table.clone(),
        };
        let opening = match self.purpose {
            Purpose::Look => Opening::Existing,
            Purpose::Start(opening) => opening,
        };
        match session.open_ledger(name, &identity, opening).await {
            Ok(ledger) => {
                let text = format!("{name} knows this pipeline; kept for {}", humane(self.config.ledger_keep));
                self.add(match ledger.emptied {
                    false => Finding::ok("ledger", text),
                    true => Finding::warning(
                        "ledger",
                        format!("{name} has no entry of this pipeline, which has run before"),
                    )
                    .todo("if it wrote anything: whatever is delivered again now is written again"),
                });
                Ok(Some(ledger))
            }
            Err(failure) if failure.code == "ledger_missing" && self.purpose == Purpose::Look => {
                let access = session.access(&self.pipeline.table, name).await.unwrap_or_default();
                self.unmade_ledger(&access);
                Ok(None)
            }
            Err(failure) if matches!(failure.code.as_ref(), "42501" | "1142") && self.purpose == Purpose::Look => {
                let access = session.access(&self.pipeline.table, name).await?;
                if access.ledger_lacks.is_empty() {
                    return self.side(Err(failure), "ledger");
                }
                for lacking in &access.ledger_lacks {
                    let text = format!("this login may not {} {}", lacking.privileges.join(", "), lacking.table);
                    let grant = self.grant(&lacking.privileges, "", &lacking.table);
                    self.add(Finding::wrong("privileges", text).todo("the ledger needs them").mend(grant));
                }
                Ok(None)
            }
            Err(failure) => self.side(Err(failure), "ledger"),
        }
    }

    fn unmade_ledger(&mut self, access: &Access) {
        let name = &self.config.ledger_table;
        let ddl = self.database.ledger_ddl(name);
        let later = format!("{name} has nothing of this pipeline yet");
        self.add(match access.may_create_ledger {
            Some(true) => Finding::ok("ledger", format!("{later}; the worker makes what is missing at its start")),
            _ if access.ledger_there => Finding::ok("ledger", format!("{later}; the worker begins it at its start")),
            Some(false) => {
                let text = format!("{name} isn't there, or can't be seen, and this login may not create tables");
                let marker = TableName { schema: name.schema.clone(), name: format!("{}_pipelines", name.name) };
                let orders = self.orders_table();
                let (entries, update) = (["SELECT", "INSERT", "DELETE"], ["SELECT", "INSERT", "UPDATE"]);
                let grants = [(name, &entries), (&marker, &update), (&orders, &entries)]
                    .map(|(table, privileges)| self.grant(privileges, "", table));
                Finding::wrong("ledger", text).todo("let somebody run this").mend(format!(
                    "{}\n{}",
                    ddl.trim_end(),
                    grants.join("\n")
                ))
            }
            None => Finding::unknown("ledger", format!("{later}; not known whether this login may create tables"))
                .todo("if it may not: `rabbit-sink init --ledger` prints the DDL"),
        });
    }

    /// What every replica has been ordered. Obeyed before anything is taken, so that not being able to
    /// read it is as wrong as a table that can't be written.
    pub(super) async fn orders(&mut self, session: &mut dyn Session) -> Result<(), Failure> {
        let Some(mut pauses) = session.pauses(&self.config.ledger_table) else { return Ok(()) };
        let read = pauses.read().await;
        drop(pauses);
        if let (Purpose::Look, Err(failure)) = (self.purpose, &read)
            && failure.code == "42501"
        {
            let table = self.orders_table();
            let grant = self.grant(&["SELECT"], "", &table);
            let finding = Finding::wrong("privileges", format!("this login may not SELECT {table}"));
            self.add(finding.todo("an order to pause every replica is obeyed before anything else").mend(grant));
            return Ok(());
        }
        let Some(orders) = self.side(read, "orders")? else { return Ok(()) };
        let seen = orders.is_some();
        self.side.pause = orders.into_iter().flatten().find(|order| order.pipeline == self.pipeline.name);
        if self.purpose != Purpose::Look {
            return Ok(());
        }
        let finding = match &self.side.pause {
            Some(order) => Finding::warning("orders", format!("paused on every replica by {}", order.by))
                .todo(format!("`rabbit-sink resume {} --all` lifts it", self.pipeline.name)),
            None if seen => Finding::ok("orders", "no pause of every replica is ordered"),
            None => {
                let access = session.access(&self.pipeline.table, &self.config.ledger_table).await.unwrap_or_default();
                self.unseen_orders(&access)
            }
        };
        self.add(finding);
        Ok(())
    }

    fn orders_table(&self) -> TableName {
        let ledger = &self.config.ledger_table;
        TableName { schema: ledger.schema.clone(), name: format!("{}_pauses", ledger.name) }
    }

    fn unseen_orders(&self, access: &Access) -> Finding {
        let table = self.orders_table();
        if access.may_create_ledger != Some(false) {
            let text = "no pause of every replica is ordered";
            return Finding::ok("orders", format!("{text}; the first one makes the table {table}"));
        }
        let text = format!("{table} isn't there, or can't be seen, and this login may not create tables");
        let grant = self.grant(&["SELECT", "INSERT", "DELETE"], "", &table);
        let ddl = self.database.pauses_ddl(&self.config.ledger_table);
        Finding::warning("orders", text)
            .todo("`pause --all` can't be given or obeyed until somebody runs this")
            .mend(format!("{}\n{grant}", ddl.trim_end()))
    }

    /// The table of dead letters as far as it is there: as the ledger.
    pub(super) async fn dead_letters(&mut self, session: &mut dyn Session) -> Result<bool, Failure> {
        let DeadLetter::Table(name) = &self.pipeline.dead_letter else { return Ok(false) };
        let opening = match self.purpose {
            Purpose::Look => Opening::Existing,
            Purpose::Start(opening) => opening,
        };
        let lacking = || Failure::new(ErrorClass::SinkMisconfigured, "no_letters", "this database keeps no letters");
        let mut letters = session.letters(name).ok_or_else(lacking)?;
        let ddl = letters.ddl();
        let grant = self.grant(&["SELECT", "INSERT", "UPDATE", "DELETE"], "", name);
        match letters.open(opening).await {
            Ok(()) => {
                let count = letters.range(&self.pipeline.name).await?.count;
                self.add(Finding::ok("dead letters", format!("table {name} takes them; {count} lie there")));
                Ok(true)
            }
            Err(failure) if failure.code == LETTERS_MISSING && self.purpose == Purpose::Look => {
                drop(letters);
                let may_create = session.access(&self.pipeline.table, name).await.unwrap_or_default().may_create_ledger;
                let missing = format!("table {name} is missing");
                self.add(match may_create {
                    Some(true) => Finding::ok("dead letters", format!("{missing}; the worker makes it at its start")),
                    Some(false) => {
                        Finding::wrong("dead letters", format!("{missing}, and this login may not create tables"))
                            .todo("let somebody run this")
                            .mend(format!("{}\n{grant}", ddl.trim_end()))
                    }
                    None => {
                        let unsure = format!("{missing}; not known whether this login may create tables");
                        Finding::unknown("dead letters", unsure)
                    }
                });
                Ok(false)
            }
            Err(failure) if matches!(failure.code.as_ref(), "42501" | "1142" | "1143") => {
                self.add(Finding::of("dead letters", &failure).mend(grant));
                Ok(false)
            }
            Err(failure) => {
                drop(letters);
                self.side(Err::<(), _>(failure), "dead letters").map(|_| false)
            }
        }
    }
}

fn humane(time: std::time::Duration) -> String {
    match time.as_secs() {
        seconds if seconds % 86_400 == 0 => format!("{} d", seconds / 86_400),
        seconds => format!("{} h", seconds / 3600),
    }
}
