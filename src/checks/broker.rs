//! The broker's side of a pipeline.

use std::time::Duration;

use super::{Finding, Level};
use crate::config::{self, DeadLetter};
use crate::error::Failure;
use crate::guarantee::Gap;
use crate::rabbitmq::{BrokerVersion, Connection, Management, Publishing, QueueFacts, QueueState, Rabbitmq, Rights};

/// The oldest version that was tried.
const OLDEST: BrokerVersion = BrokerVersion { major: 3, minor: 10 };

/// From here on a queue's own consumer timeout means something; before, it is taken and ignored.
const QUEUES_OWN_TIMEOUT: BrokerVersion = BrokerVersion { major: 3, minor: 12 };

/// The delivery limit of quorum queues that state none, from 4.0 on.
const DEFAULT_LIMIT: i64 = 20;

/// What was found.
#[derive(Debug, Default)]
pub struct BrokerSide {
    /// A line each.
    pub findings: Vec<Finding>,
    /// What speaks against the guarantee.
    pub gaps: Vec<Gap>,
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
    BrokerSide { findings: found, gaps: side.gaps }
}

fn one(finding: Finding) -> BrokerSide {
    BrokerSide { findings: vec![finding], gaps: Vec::new() }
}

fn not_connected(failure: &Failure, rabbitmq: &Rabbitmq) -> Finding {
    let (vhost, user) = (rabbitmq.vhost(), rabbitmq.user());
    let finding = Finding::of("broker", failure);
    match failure.code.as_ref() {
        "403" => {
            finding.at(Level::Wrong).mend(format!("rabbitmqctl add_user {user} PASSWORD     # or change_password"))
        }
        "530" => finding.at(Level::Wrong).mend(format!(
            "rabbitmqctl add_vhost '{vhost}'; rabbitmqctl set_permissions -p '{vhost}' {user} '.*' '.*' '.*'"
        )),
        "tls" | "tls_files" => {
            finding.at(Level::Wrong).todo("check ca_file, and the name in the URL against the certificate's")
        }
        "not_amqp" => finding.at(Level::Wrong),
        _ => finding.todo("is it running, and is that its address? The worker waits for it"),
    }
}

/// The node's own timeout, which only the node tells.
fn node_timeout(text: String) -> Finding {
    Finding::unknown("consumer timeout", text)
        .todo("state it in consumer_timeout if it differs")
        .mend("rabbitmqctl eval 'application:get_env(rabbit, consumer_timeout).'")
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
        if let DeadLetter::Queue { name, declare } = &self.pipeline.dead_letter {
            self.dead_letters(name, *declare).await?;
        }
        match Management::of(self.broker) {
            Some(management) => self.managed(&management, there).await,
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

    /// What the pipeline needs at least, with dots that mean dots.
    fn permissions(&self) -> String {
        let pattern = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| name.replace('.', "\\.")).collect();
            format!("'^({})$'", names.join("|"))
        };
        let queue = self.pipeline.queue.as_str();
        let dead = self.pipeline.dead_letter.queue();
        let declared = self.pipeline.declare.as_ref().map(|_| queue);
        let names = |names: &[Option<&str>]| pattern(&names.iter().flatten().copied().collect::<Vec<_>>());
        format!(
            "rabbitmqctl set_permissions -p '{}' {} {} {} {}",
            self.vhost,
            self.rabbitmq.user(),
            names(&[declared, dead]),
            names(&[Some("amq.default"), Some(queue), dead]),
            names(&[Some(queue), dead])
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

    /// What only the management API tells.
    fn not_managed(&mut self, why: &str) {
        for what in ["queue type", "delivery limit", "broker's dead-lettering", "policies"] {
            self.add(Finding::unknown(what, why));
        }
        let assumed = crate::config::show_duration(self.broker.consumer_timeout);
        let text = format!("{why}; taken for {assumed}, as consumer_timeout says");
        self.add(node_timeout(text));
    }

    async fn managed(&mut self, management: &Management, there: bool) {
        let facts = match management.queue(&self.vhost, &self.pipeline.queue).await {
            Ok(facts) => facts,
            Err(failure) => {
                let todo = "check management_url, and that the user has the tag `management`";
                self.add(Finding::warning("management", failure.message.as_ref()).todo(todo));
                return self.not_managed("not known (the management API doesn't tell)");
            }
        };
        let Some(facts) = facts else {
            if there {
                self.add(Finding::warning("management", "the API knows nothing of the queue: is it another broker's?"));
            }
            return self.not_managed(if there {
                "not known (the API doesn't know the queue)"
            } else {
                "not known (no queue)"
            });
        };
        self.kind(&facts);
        if let Ok(Some(theirs)) = management.clock().await {
            let why = "times to live run by the broker's clock, and its log can't be compared with ours";
            self.add(super::clock("the broker's", theirs, why));
        }
        self.limits(&facts, management).await;
        self.lifetimes(&facts);
        self.timeout(&facts);
    }

    fn kind(&mut self, facts: &QueueFacts) {
        let queue = &self.pipeline.queue;
        let finding = match facts.kind.as_str() {
            "stream" => Finding::wrong("queue type", format!("{queue} is a stream"))
                .todo("streams can't be read yet: name a queue"),
            _ if facts.exclusive => Finding::wrong("queue type", format!("{queue} is exclusive to another connection")),
            kind => Finding::ok("queue type", format!("{kind}{}", if facts.durable { ", durable" } else { "" })),
        };
        self.add(finding);
        if !facts.durable || facts.auto_delete {
            let what =
                if facts.durable { "goes with its last consumer" } else { "doesn't outlive a restart of the broker" };
            self.gap("queue type", format!("{queue} {what}, with its messages"), "declare it durable", None);
        }
        if facts.single_active && !self.pipeline.single_active_consumer {
            let text = "single active consumer: its order is kept only by a pipeline that knows";
            let finding = Finding::warning("queue type", text).todo("set consumers = 1, and say it in the pipeline");
            self.add(finding.mend("single_active_consumer = true"));
        }
        if !facts.single_active && self.pipeline.single_active_consumer {
            let text =
                format!("{} has no single active consumer: processes share it, in no order", self.pipeline.queue);
            self.add(Finding::wrong("queue type", text).todo("declare it with x-single-active-consumer = true"));
        }
        if facts.max_priority.is_some() && usize::from(self.pipeline.prefetch) > 2 * self.pipeline.batch.max_rows {
            let text = "a priority queue: priorities mean nothing among messages that are delivered already";
            self.add(Finding::warning("queue type", text).todo("lower prefetch to 2 × batch.max_rows"));
        }
        let policy = facts.policy.as_deref().map_or("none applies".to_owned(), |policy| format!("{policy} applies"));
        self.add(Finding::ok("policies", policy));
    }

    async fn limits(&mut self, facts: &QueueFacts, management: &Management) {
        let default = (facts.kind == "quorum"
            && self.connection.version() >= Some(BrokerVersion::UNLIMITED_DELIVERIES))
        .then_some(DEFAULT_LIMIT);
        let limit = facts.delivery_limit.or(default).filter(|limit| *limit >= 0 && facts.kind == "quorum");
        let dead_letters = facts.dead_letter_exchange.as_deref();
        match (limit, dead_letters) {
            (None, _) => self.add(Finding::ok("delivery limit", "none")),
            (Some(limit), Some(_)) => {
                let text = format!("{limit}; what comes back more often is dead-lettered by the broker");
                self.add(Finding::ok("delivery limit", text));
            }
            (Some(limit), None) => {
                let text =
                    format!("{limit}, and no dead-letter exchange: a message that comes back more often is lost");
                let pattern = self.pipeline.queue.replace('.', "\\.");
                let mend = format!(
                    "rabbitmqctl set_policy -p '{}' {}-limit '^{pattern}$' '{{\"delivery-limit\": 1000000}}' --apply-to queues",
                    self.vhost, self.pipeline.name
                );
                self.gap("delivery limit", text, "raise the delivery limit, or set a dead-letter exchange", Some(mend));
            }
        }
        match dead_letters {
            None => self
                .add(Finding::ok("broker's dead-lettering", "none; rejected messages are dead-lettered by the worker")),
            Some(exchange) => match management.exchange_exists(&self.vhost, exchange).await {
                Ok(true) => self.add(Finding::ok("broker's dead-lettering", format!("to exchange {exchange:?}"))),
                Ok(false) => {
                    let text = format!("the exchange {exchange:?} doesn't exist: the broker drops in silence");
                    self.gap(
                        "broker's dead-lettering",
                        text,
                        "create the dead-letter exchange, and bind a queue to it",
                        None,
                    );
                }
                Err(failure) => self.add(Finding::unknown("broker's dead-lettering", failure.message.as_ref())),
            },
        }
    }

    fn lifetimes(&mut self, facts: &QueueFacts) {
        let kept = facts.dead_letter_exchange.is_some();
        if let Some(ttl) = facts.message_ttl.filter(|_| !kept) {
            self.gap(
                "lifetime",
                format!("messages are dropped after {ttl} ms"),
                "take the time to live off the queue",
                None,
            );
        }
        if let Some(length) = facts.max_length.as_ref().filter(|length| !kept && !length.contains("reject")) {
            let text = format!("messages are dropped beyond {length}");
            self.gap("lifetime", text, "set overflow = reject-publish, or take the length off the queue", None);
        }
        if let Some(expires) = facts.expires {
            let text = format!("the queue is deleted after {expires} ms without a consumer");
            self.gap("lifetime", text, "take `expires` off the queue", None);
        }
    }

    fn timeout(&mut self, facts: &QueueFacts) {
        let hold = self.pipeline.retry.hold;
        let shown = crate::config::show_duration;
        let assumed = shown(self.broker.consumer_timeout);
        let own = facts.consumer_timeout.and_then(|millis| u64::try_from(millis).ok()).map(Duration::from_millis);
        let heeded = self.connection.version() >= Some(QUEUES_OWN_TIMEOUT);
        let finding = match own {
            Some(own) if heeded && own <= hold => {
                let text = format!("{} on this queue, and retry.hold is {}", shown(own), shown(hold));
                Finding::wrong("consumer timeout", text)
                    .todo("lower retry.hold below it: the broker would take the messages back first")
            }
            Some(own) if heeded => {
                let text = format!("{} on this queue, above retry.hold ({})", shown(own), shown(hold));
                Finding::ok("consumer timeout", text)
            }
            Some(own) => node_timeout(format!(
                "not known (the queue says {}, which RabbitMQ heeds from {QUEUES_OWN_TIMEOUT} on; no API tells the \
                 node's); taken for {assumed}",
                shown(own)
            )),
            None => node_timeout(format!("not known (no API tells the node's); taken for {assumed}")),
        };
        self.add(finding);
    }

    /// A warning that also speaks against the guarantee.
    fn gap(&mut self, check: &'static str, what: String, remedy: &str, mend: Option<String>) {
        let finding = Finding::warning(check, what.as_str()).todo(remedy);
        self.add(match mend {
            Some(mend) => finding.mend(mend),
            None => finding,
        });
        self.side.gaps.push(Gap { what, remedy: remedy.to_owned() });
    }
}
