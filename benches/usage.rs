//! What processes have used, from /proc.

/// Seconds of processor time of these processes and those that they have waited for.
pub fn cpu(pids: &[u32]) -> f64 {
    pids.iter().map(|&pid| one(pid).unwrap_or_default()).sum()
}

fn one(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    // utime, stime, cutime, cstime: fields 14 to 17 of proc(5), counted in hundredths of a second.
    let ticks: f64 = (11..15).filter_map(|at| fields.get(at)?.parse::<f64>().ok()).sum();
    Some(ticks / 100.0)
}

/// The most memory that these processes had at any time, in MiB.
pub fn peak_mib(pids: &[u32]) -> f64 {
    pids.iter().filter_map(|&pid| field(pid, "VmHWM:")).sum::<f64>() / 1024.0
}

fn field(pid: u32, name: &str) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
