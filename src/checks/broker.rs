//! The broker's side of a pipeline.

mod managed;

use super::{Finding, Level};
use crate::config::{self, DeadLetter};
use crate::error::Failure;
use crate::guarantee::Gap;
use crate::rabbitmq::{BrokerVersion, Connection, Management, Publishing, QueueState, Rabbitmq, Rights, refuses};

/// The oldest version that was tried.
const OLDEST: BrokerVersion = BrokerVersion { major: 3, minor: 10 };

/// What was found.
#[derive(Debug, Default)]
pub struct BrokerSide {
    /// A line each.
    pub findings: Vec<Finding>,
    /// What speaks against the guarantee.
    pub gaps: Vec<Gap>,
    /// The management API has told what may speak against it.
    pub known: bool,
}

/// Connects and looks; changes nothing.
pub(super) async fn look(broker: &config::Broker, pipeline: &config::Pipeline) -> BrokerSide {
    let rabbitmq = match Rabbitmq::new(broker) {
        Ok(rabbitmq) => rabbitmq,
        Err(failure) => return one(Finding::of("broker", &failure)),
    };
    let connection = match rabbitmq.connect(&format!("{}/check", pipeline.name)).await {
        Ok(connection) => connection,
        Err(failure) => return one(not_connected(&failure, &rabbitmq)),
    };
    let mut found = connected(&connection, &rabbitmq);
    let mut side = look_at_queues(&connection, &rabbitmq, broker, pipeline).await;
    connection.close().await;
    found.append(&mut side.findings);
    BrokerSide { findings: found, ..side }
}

fn one(finding: Finding) -> BrokerSide {
    BrokerSide { findings: vec![finding], ..BrokerSide::default() }
}

fn not_connected(failure: &Failure, rabbitmq: &Rabbitmq) -> Finding {
    let (vhost, user) = (rabbitmq.vhost(), rabbitmq.user());
    let finding = Finding::of("broker", failure);
    if !refuses(failure) {
        return match failure.code.as_ref() {
            "530" => finding.todo("the worker waits until there is room"),
            _ => finding.todo("is it running, and is that its address? The worker waits for it"),
        };
    }
    let finding = finding.at(Level::Wrong);
    match failure.code.as_ref() {
        "403" => finding.mend(format!("rabbitmqctl add_user {user} PASSWORD     # or change_password")),
        "530" => finding.mend(format!(
            "rabbitmqctl add_vhost {0}; rabbitmqctl set_permissions -p {0} {user} '.*' '.*' '.*'",
            shell(vhost)
        )),
        "tls" | "tls_files" => finding.todo("check ca_file, and the name in the URL against the certificate's"),
        _ => finding,
    }
}

fn connected(connection: &Connection, rabbitmq: &Rabbitmq) -> Vec<Finding> {
    let tls = if rabbitmq.encrypted() { "encrypted" } else { "not encrypted" };
    let version = connection.version();
    let told = version.map_or_else(|| "of an unknown version".to_owned(), |version| version.to_string());
    let text =
        format!("RabbitMQ {told} at {} as {}, vhost {}, {tls}", connection.place(), rabbitmq.user(), rabbitmq.vhost());
    let mut found = vec![Finding::ok("broker", text)];
    if let Some(old) = version.filter(|version| *version < OLDEST) {
        found.push(Finding::warning(
            "version",
            format!("RabbitMQ {old} is older than {OLDEST}, which is the oldest tried"),
        ));
    }
    found
}

/// amqp:// asks for no encryption, and often the network is one's own; but somebody should know.
fn exposed(rabbitmq: &Rabbitmq) -> Option<Finding> {
    let places = rabbitmq.exposed();
    let text = format!("login and messages travel unencrypted to {}", places.join(", "));
    let todo = "write amqps:// (port 5671), unless you trust the network in between";
    (!places.is_empty()).then(|| Finding::warning("encryption", text).todo(todo))
}

/// Queues, rights, and what the management API tells; changes nothing.
pub async fn look_at_queues(
    connection: &Connection,
    rabbitmq: &Rabbitmq,
    broker: &config::Broker,
    pipeline: &config::Pipeline,
) -> BrokerSide {
    let mut look = Look {
        connection,
        rabbitmq,
        broker,
        pipeline,
        side: BrokerSide::default(),
        vhost: rabbitmq.vhost().to_owned(),
    };
    look.side.findings.extend(exposed(rabbitmq));
    if let Err(failure) = look.through().await {
        look.side.findings.push(Finding::of("broker", &failure));
    }
    look.side
}

struct Look<'a> {
    connection: &'a Connection,
    rabbitmq: &'a Rabbitmq,
    broker: &'a config::Broker,
    pipeline: &'a config::Pipeline,
    side: BrokerSide,
    vhost: String,
}

impl Look<'_> {
    fn add(&mut self, finding: Finding) {
        self.side.findings.push(finding);
    }

    async fn through(&mut self) -> Result<(), Failure> {
        let there = self.queue().await?;
        for exchange in exchanges(self.pipeline) {
            self.binding(exchange).await?;
        }
        if let DeadLetter::Queue { name, declare } = &self.pipeline.dead_letter {
            self.dead_letters(name, *declare).await?;
        }
        match Management::of(self.broker) {
            Some(management) => {
                self.managed(&management, there).await;
                if self.side.known {
                    self.letters(&management).await;
                }
            }
            None => self.not_managed("not known (set management_url)"),
        }
        Ok(())
    }

    /// A refusal of the broker is a line; anything else ends the look.
    fn refused(&mut self, check: &'static str, failure: Failure) -> Result<(), Failure> {
        match failure.code.as_ref() {
            "404" | "405" | "406" => {
                self.add(Finding::of(check, &failure).at(Level::Wrong));
                Ok(())
            }
            _ => Err(failure),
        }
    }

    async fn queue(&mut self) -> Result<bool, Failure> {
        let queue = &self.pipeline.queue;
        let state = match self.connection.queue_exists(queue).await {
            Ok(state) => state,
            // From 4.3 on even looking takes a right.
            Err(failure) if failure.code == "403" => {
                self.right("permissions", &Rights::Refused, &format!("read queue {queue}"));
                return Ok(false);
            }
            Err(failure) => return self.refused("queue", failure).map(|()| false),
        };
        match state {
            QueueState::Present { ready, consumers } => {
                self.add(Finding::ok("queue", format!("{queue}: {ready} ready, {consumers} consumers")));
                let rights = self.connection.may_consume(queue).await?;
                self.right("permissions", &rights, &format!("read queue {queue}"));
                Ok(true)
            }
            QueueState::Missing if self.pipeline.declare.is_some() => {
                let rights = self.connection.may_declare(queue).await?;
                self.add(Finding::ok("queue", format!("{queue} is missing; the worker declares it")));
                self.right("permissions", &rights, &format!("configure queue {queue}"));
                Ok(false)
            }
            QueueState::Missing => {
                self.add(
                    Finding::wrong("queue", format!("{queue} is missing in vhost {}", self.vhost))
                        .todo(format!(
                            "create it, or let the worker declare it, in [pipelines.{}]:",
                            self.pipeline.name
                        ))
                        .mend("declare = { type = \"quorum\" }"),
                );
                Ok(false)
            }
        }
    }

    async fn binding(&mut self, exchange: &str) -> Result<(), Failure> {
        match self.connection.exchange_exists(exchange).await {
            Ok(true) => self.add(Finding::ok("exchange", format!("{exchange} is there to be bound to"))),
            Ok(false) => {
                let text = format!("{exchange} is missing in vhost {}: the queue can't be bound to it", self.vhost);
                self.add(
                    Finding::wrong("exchange", text)
                        .todo(format!("create it, or correct `bind` in [pipelines.{}.declare]", self.pipeline.name)),
                );
                return Ok(());
            }
            // From 4.3 on even looking takes a right; what binding takes is asked next.
            Err(failure) if failure.code == "403" => {}
            Err(failure) => return self.refused("exchange", failure),
        }
        let queue = &self.pipeline.queue;
        let rights = self.connection.may_bind(queue, exchange).await?;
        self.right("permissions", &rights, &format!("bind queue {queue} to exchange {exchange}"));
        Ok(())
    }

    fn right(&mut self, check: &'static str, rights: &Rights, what: &str) {
        let finding = match rights {
            Rights::Granted => Finding::ok(check, format!("user {} may {what}", self.rabbitmq.user())),
            Rights::Refused => Finding::wrong(check, format!("user {} may not {what}", self.rabbitmq.user()))
                .todo("grant it (this sets all three: configure, write, read; `rabbitmqctl list_permissions` shows what is)")
                .mend(self.permissions()),
            Rights::Unclear(failure) => {
                Finding::unknown(check, format!("whether user {} may {what}: {}", self.rabbitmq.user(), failure.message))
            }
        };
        self.add(finding);
    }

    /// What the pipeline needs at least.
    fn permissions(&self) -> String {
        let queue = self.pipeline.queue.as_str();
        let dead = self.pipeline.dead_letter.queue();
        let declared = self.pipeline.declare.is_some().then_some(queue);
        let configure: Vec<&str> = declared.into_iter().chain(dead).collect();
        let write: Vec<&str> = ["amq.default", queue].into_iter().chain(dead).collect();
        let read: Vec<&str> = [queue].into_iter().chain(dead).chain(exchanges(self.pipeline)).collect();
        format!(
            "rabbitmqctl set_permissions -p {} {} {} {} {}",
            shell(&self.vhost),
            self.rabbitmq.user(),
            pattern(&configure),
            pattern(&write),
            pattern(&read)
        )
    }

    async fn dead_letters(&mut self, queue: &str, declare: bool) -> Result<(), Failure> {
        match self.connection.queue_exists(queue).await {
            Ok(QueueState::Present { ready, .. }) => {
                let text = format!("{queue} takes them; {ready} lie there");
                self.add(Finding::ok("dead letters", text));
            }
            Ok(QueueState::Missing) if declare => {
                self.add(Finding::ok("dead letters", format!("{queue} is missing; the worker declares it")));
                let rights = self.connection.may_declare(queue).await?;
                self.right("permissions", &rights, &format!("configure queue {queue}"));
            }
            Ok(QueueState::Missing) => {
                let place = format!("create it, or in [pipelines.{}.dead_letter]:", self.pipeline.name);
                let text = format!("{queue} is missing in vhost {}", self.vhost);
                self.add(Finding::wrong("dead letters", text).todo(place).mend("declare = true"));
            }
            Err(failure) if failure.code == "403" => {
                self.right("permissions", &Rights::Refused, &format!("look at or configure queue {queue}"));
            }
            Err(failure) => self.refused("dead letters", failure)?,
        }
        match self.connection.may_publish().await? {
            Publishing::Possible => {
                self.add(Finding::ok(
                    "dead letters",
                    "the default exchange takes messages (tried with one that came back)",
                ));
            }
            Publishing::Refused => {
                self.right("permissions", &Rights::Refused, "publish through the default exchange");
            }
            Publishing::Stopped(failure) => {
                self.add(
                    Finding::warning("dead letters", failure.message.as_ref()).todo("the worker holds until it does"),
                );
            }
        }
        Ok(())
    }
}

/// Those that the worker binds the queue to, each once.
fn exchanges(pipeline: &config::Pipeline) -> Vec<&str> {
    let bindings = pipeline.declare.iter().flat_map(|declare| &declare.bind);
    let mut exchanges: Vec<&str> = bindings.map(|binding| binding.exchange.as_str()).collect();
    exchanges.sort_unstable();
    exchanges.dedup();
    exchanges
}

/// An expression that these names match and no others, for a shell.
fn pattern(names: &[&str]) -> String {
    let special = |c: char| "\\.+*?()|[]{}^$".contains(c);
    let escaped = |name: &&str| {
        let parts = name.chars().map(|c| if special(c) { format!("\\{c}") } else { c.to_string() });
        parts.collect::<String>()
    };
    shell(&format!("^({})$", names.iter().map(escaped).collect::<Vec<_>>().join("|")))
}

/// In quotes that a shell leaves alone.
fn shell(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::pattern;

    #[test]
    fn names_mean_themselves() {
        assert_eq!(pattern(&["a.b", "c"]), r"'^(a\.b|c)$'");
        assert_eq!(pattern(&["orders+(new)"]), r"'^(orders\+\(new\))$'");
        assert_eq!(pattern(&["it's"]), r"'^(it'\''s)$'");
    }
}
