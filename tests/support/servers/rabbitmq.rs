//! A RabbitMQ node of one's own, or a cluster of them.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use lapin::{Connection, ConnectionProperties};

use super::{Programs, RABBITMQ_ROOT, not_installed};
use crate::support::process::{Node, Process, free_port, new_folder, run};
use crate::support::wait::unique_name;

/// All of a cluster's nodes know each other by it; it keeps nobody out who is on this machine.
const COOKIE: &str = "rabbitsinktests";

/// What a test wants different from a fresh node.
#[derive(Clone, Debug, Default)]
pub struct RabbitmqOptions {
    /// Unacked for longer, a delivery's channel is closed. The node looks once a minute, unless
    /// the application's `channel_tick_interval` is set to less.
    pub consumer_timeout: Option<Duration>,
    /// Further lines for rabbitmq.conf.
    pub conf: Vec<String>,
    /// `rabbitmq_management` and the like. Its HTTP API then listens on [`Rabbitmq::http_port`].
    pub plugins: Vec<String>,
    /// How many threads it works with.
    pub schedulers: Schedulers,
}

/// How many threads of the machine's a node works with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Schedulers {
    /// Tests run several nodes on two cores.
    #[default]
    One,
    /// What a node takes by itself.
    EachCore,
}

impl Schedulers {
    /// They don't spin while they wait: the cores are others', too.
    fn arguments(self) -> &'static str {
        match self {
            Schedulers::One => "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none",
            Schedulers::EachCore => "+sbwt none +sbwtdcpu none +sbwtdio none",
        }
    }
}

/// Erlang's name server, which would otherwise start by itself and never end.
#[derive(Debug)]
pub struct Epmd {
    port: u16,
    folder: PathBuf,
    process: Process,
    stays: bool,
}

impl Epmd {
    fn start() -> Arc<Epmd> {
        let folder = new_folder("epmd");
        let port = free_port();
        let mut command = command("epmd", &folder);
        command.args(["-address", "127.0.0.1", "-port", &port.to_string()]);
        let process = Process::spawn(command, &folder.join("epmd.log"), &folder);
        Arc::new(Epmd { port, folder, process, stays: false })
    }

    /// Number of its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// What it has on disk.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Epmd {
    fn drop(&mut self) {
        if !self.stays {
            self.process.kill();
            drop(std::fs::remove_dir_all(&self.folder));
        }
    }
}

/// A RabbitMQ node; login `guest`, password `guest`.
pub struct Rabbitmq {
    node: Node,
    port: u16,
    http_port: u16,
    name: String,
    epmd: Arc<Epmd>,
}

impl Rabbitmq {
    pub async fn start() -> Self {
        Self::start_with(RabbitmqOptions::default()).await
    }

    pub async fn start_with(options: RabbitmqOptions) -> Self {
        let epmd = Epmd::start();
        Self::start_node(&options, epmd, None).await
    }

    /// Nodes that form one cluster.
    pub async fn start_cluster(nodes: usize) -> Vec<Self> {
        let options = RabbitmqOptions::default();
        let epmd = Epmd::start();
        let mut cluster: Vec<Self> = Vec::new();
        for _ in 0..nodes {
            let first = cluster.first().map(|first| first.name.clone());
            cluster.push(Self::start_node(&options, Arc::clone(&epmd), first).await);
        }
        cluster
    }

    async fn start_node(options: &RabbitmqOptions, epmd: Arc<Epmd>, joins: Option<String>) -> Self {
        let folder = new_folder("rabbitmq");
        let (port, http_port, dist_port) = (free_port(), free_port(), free_port());
        let name = format!("{}@localhost", unique_name("node"));
        write_files(&folder, options, http_port, &name, joins.as_deref());
        let environment = environment(&folder, &name, epmd.port);
        let schedulers = options.schedulers;
        let node = Node::new("RabbitMQ", folder.clone(), "TERM", move || {
            // The wrapper in /usr/sbin switches the user and loses the environment.
            let mut command = command("rabbitmq-server", &folder);
            command.envs(environment.clone());
            command.env("RABBITMQ_NODE_PORT", port.to_string()).env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1");
            command.env("RABBITMQ_DIST_PORT", dist_port.to_string());
            command.env("RABBITMQ_MNESIA_BASE", folder.join("mnesia")).env("RABBITMQ_LOG_BASE", folder.join("log"));
            command.env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("enabled_plugins"));
            command.env("RABBITMQ_CONFIG_FILE", folder.join("rabbitmq.conf")).env("RABBITMQ_LOGS", "-");
            // Neither may this machine's own settings in /etc/rabbitmq leak in.
            command.env("RABBITMQ_CONF_ENV_FILE", folder.join("none"));
            command.env("RABBITMQ_ADVANCED_CONFIG_FILE", folder.join("none.config"));
            // The shell script that starts it is then replaced by it.
            command.env("RUNNING_UNDER_SYSTEMD", "true");
            command.env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", schedulers.arguments());
            command
        });
        let mut server = Rabbitmq { node, port, http_port, name, epmd };
        server.restart().await;
        server
    }

    /// Starts it again, after [`Node::stop`] or [`Node::kill`], and waits until it answers.
    pub async fn restart(&mut self) {
        self.launch();
        self.started().await;
    }

    /// Waits until it answers. A node of a cluster may wait for the others: launch them all first.
    pub async fn started(&mut self) {
        let url = self.url();
        self.node.await_answer(async || answers(&url).await).await;
    }

    /// With login, of the vhost `/`.
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where the management plugin listens, if it was asked for.
    pub fn http_port(&self) -> u16 {
        self.http_port
    }

    /// Its Erlang name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn epmd(&self) -> &Epmd {
        &self.epmd
    }

    /// `rabbitmqctl` for this node, to be followed by a command; no part has a space in it.
    pub fn ctl_prefix(&self) -> String {
        let mut words = vec!["env".to_owned()];
        for (name, value) in environment(&self.node.folder, &self.name, self.epmd.port) {
            words.push(format!("{name}={value}"));
        }
        words.extend(Programs::of(RABBITMQ_ROOT).words(&program("rabbitmqctl")));
        words.push("--quiet".to_owned());
        words.join(" ")
    }

    /// It and its name server outlive this process from now on. Not for clusters.
    pub fn leave(&mut self) {
        self.node.leave();
        let epmd = Arc::get_mut(&mut self.epmd).expect("a node that is alone");
        epmd.process.leave();
        epmd.stays = true;
    }

    /// What it says of itself: `RabbitMQ 3.10.8`.
    pub fn version(&self) -> String {
        format!("RabbitMQ {}", self.ctl(&["eval", "rabbit_misc:version()."]).trim().trim_matches('"'))
    }

    /// Runs `rabbitmqctl` and says what it printed.
    pub fn ctl(&self, arguments: &[&str]) -> String {
        ctl(&self.ctl_prefix(), arguments)
    }
}

impl Deref for Rabbitmq {
    type Target = Node;
    fn deref(&self) -> &Node {
        &self.node
    }
}

impl DerefMut for Rabbitmq {
    fn deref_mut(&mut self) -> &mut Node {
        &mut self.node
    }
}

/// Runs `rabbitmqctl` by a prefix as [`Rabbitmq::ctl_prefix`] gives it.
pub fn ctl(prefix: &str, arguments: &[&str]) -> String {
    let mut words = prefix.split_whitespace();
    let mut command = Command::new(words.next().expect("a command"));
    command.args(words).args(arguments);
    run(&mut command)
}

/// Whether a broker takes a login there.
pub async fn answers(url: &str) -> bool {
    let connecting = Connection::connect(url, ConnectionProperties::default());
    match tokio::time::timeout(Duration::from_secs(10), connecting).await {
        Ok(Ok(connection)) => connection.close(200, "bye".into()).await.is_ok(),
        _ => false,
    }
}

fn program(name: &str) -> PathBuf {
    let found = Programs::of(RABBITMQ_ROOT).find(name, &["/usr/lib/rabbitmq/bin"]);
    found.unwrap_or_else(|| not_installed(name))
}

fn command(name: &str, folder: &Path) -> Command {
    Programs::of(RABBITMQ_ROOT).command(&program(name), folder, None)
}

/// What the node and `rabbitmqctl` have to agree on.
fn environment(folder: &Path, name: &str, epmd: u16) -> Vec<(String, String)> {
    let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    vec![
        own("HOME", &folder.display().to_string()),
        own("ERL_EPMD_PORT", &epmd.to_string()),
        own("RABBITMQ_NODENAME", name),
        // Any: several tests call rabbitmqctl at the same time.
        own("RABBITMQ_CTL_DIST_PORT_MIN", "0"),
        own("RABBITMQ_CTL_DIST_PORT_MAX", "0"),
        own("LC_ALL", "C.UTF-8"),
    ]
}

/// Config, plugins and cookie.
fn write_files(folder: &Path, options: &RabbitmqOptions, http_port: u16, name: &str, joins: Option<&str>) {
    use std::os::unix::fs::PermissionsExt;
    let write = |file: &str, text: &str| std::fs::write(folder.join(file), text).expect("a file in an own folder");
    let mut conf = vec!["disk_free_limit.absolute = 1MB".to_owned(), "log.console.level = info".to_owned()];
    if let Some(timeout) = options.consumer_timeout {
        conf.push(format!("consumer_timeout = {}", timeout.as_millis()));
    }
    if let Some(first) = joins {
        conf.push("cluster_formation.peer_discovery_backend = classic_config".to_owned());
        conf.push(format!("cluster_formation.classic_config.nodes.1 = {first}"));
        conf.push(format!("cluster_formation.classic_config.nodes.2 = {name}"));
    }
    if options.plugins.iter().any(|plugin| plugin == "rabbitmq_management") {
        conf.push("management.tcp.ip = 127.0.0.1".to_owned());
        conf.push(format!("management.tcp.port = {http_port}"));
    }
    conf.extend(options.conf.iter().cloned());
    write("rabbitmq.conf", &(conf.join("\n") + "\n"));
    write("enabled_plugins", &format!("[{}].\n", options.plugins.join(",")));
    write(".erlang.cookie", COOKIE);
    let private = std::fs::Permissions::from_mode(0o400);
    std::fs::set_permissions(folder.join(".erlang.cookie"), private).expect("permissions of an own file");
}
