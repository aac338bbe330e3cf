//! Figures, and what they say.

use anyhow::{Result, ensure};
use jiff::Timestamp;
use testbed::Requests;

use crate::budget::Budgets;

/// The design's budget: the agent's time over the floor's.
const BUDGET: f64 = 1.15;

/// From the arrival of the first request to the end of the last one, by the server's clock.
pub(crate) struct Span {
    pub(crate) begin: Timestamp,
    pub(crate) end: Timestamp,
    pub(crate) requests: usize,
    /// CPU seconds of the API server; unlike the time, other load on the machine hardly changes them.
    pub(crate) server_cpu: f64,
}

/// Create and update.
pub(crate) struct Spans {
    pub(crate) create: Span,
    pub(crate) update: Span,
}

/// The agent's, and what it needed for it.
pub(crate) struct AgentRun {
    pub(crate) spans: Spans,
    pub(crate) cpu_create: f64,
    pub(crate) cpu_update: f64,
    /// Bytes.
    pub(crate) peak_rss: u64,
}

impl Span {
    /// All of these requests, which must have succeeded.
    pub(crate) fn of(requests: &Requests) -> Result<Self> {
        let (mut begin, mut end) = (Timestamp::MAX, Timestamp::MIN);
        for request in requests.entries() {
            ensure!((200..300).contains(&request.code), "a failed request: {request:?}");
            begin = begin.min(request.received.parse()?);
            end = end.max(request.at.parse()?);
        }
        ensure!(begin <= end, "no requests");
        Ok(Self { begin, end, requests: requests.count(), server_cpu: 0.0 })
    }

    fn seconds(&self) -> f64 {
        self.end.duration_since(self.begin).as_secs_f64()
    }
}

/// All rounds that count.
#[derive(Default)]
pub(crate) struct Report {
    floors: Vec<Spans>,
    /// With a watch, and with a watch and patches.
    explained: Vec<[Spans; 2]>,
    agents: Vec<AgentRun>,
}

impl Report {
    pub(crate) fn add(&mut self, floor: Spans, explained: Option<[Spans; 2]>, agent: AgentRun) {
        self.floors.push(floor);
        self.explained.extend(explained);
        self.agents.push(agent);
    }

    /// Prints the whole.
    pub(crate) fn print(&self, namespaces: u32, budgets: &mut Budgets) {
        println!("\n1 source to {namespaces} namespaces, {} pairs, {} in flight", self.agents.len(), crate::IN_FLIGHT);
        self.of("create", |spans| &spans.create, |agent| agent.cpu_create, budgets);
        self.of("update", |spans| &spans.update, |agent| agent.cpu_update, budgets);
        let rss = self.agents.iter().map(|agent| agent.peak_rss).max().unwrap_or_default();
        println!("agent's peak RSS: {:.1} MiB", rss as f64 / f64::from(1 << 20));
    }

    fn of(&self, name: &str, span: fn(&Spans) -> &Span, cpu: fn(&AgentRun) -> f64, budgets: &mut Budgets) {
        let floors: Vec<_> = self.floors.iter().map(|spans| span(spans).seconds()).collect();
        let agents: Vec<_> = self.agents.iter().map(|agent| span(&agent.spans).seconds()).collect();
        let ratios: Vec<_> = agents.iter().zip(&floors).map(|(agent, floor)| agent / floor).collect();
        let replicas: usize = self.floors.iter().map(|spans| span(spans).requests).sum();
        let requests: usize = self.agents.iter().map(|agent| span(&agent.spans).requests).sum();
        println!("{name}:");
        println!("  floor      {}", spread(&floors, "s"));
        for (n, what) in ["watched", "patched"].into_iter().enumerate().filter(|_| !self.explained.is_empty()) {
            let times: Vec<_> = self.explained.iter().map(|both| span(&both[n]).seconds()).collect();
            let over: Vec<_> = agents.iter().zip(&times).map(|(agent, floor)| agent / floor).collect();
            println!("  {what}    {}; the agent's ratio to it {}", spread(&times, "s"), spread(&over, ""));
        }
        println!("  agent      {}", spread(&agents, "s"));
        println!("  ratio      {}", spread(&ratios, ""));
        let server = |spans: &Spans| span(spans).server_cpu;
        let at_the_floor: Vec<_> = self.floors.iter().map(server).collect();
        println!("  server CPU {} at the floor", spread(&at_the_floor, "s"));
        for (n, what) in ["watched", "patched"].into_iter().enumerate().filter(|_| !self.explained.is_empty()) {
            let cpu: Vec<_> = self.explained.iter().map(|both| server(&both[n])).collect();
            println!("             {} {what}", spread(&cpu, "s"));
        }
        let with_the_agent: Vec<_> = self.agents.iter().map(|agent| server(&agent.spans)).collect();
        println!("             {} with the agent", spread(&with_the_agent, "s"));
        println!("  agent CPU  {}", spread(&self.agents.iter().map(cpu).collect::<Vec<_>>(), "s"));
        println!("  requests   {:.3} per replica", requests as f64 / replicas as f64);
        budgets.hold("ratio", median(&ratios), BUDGET, "");
    }
}

/// One round in one line.
pub(crate) fn line(round: u32, floor: &Spans, explained: Option<&[Spans; 2]>, agent: &AgentRun) -> String {
    let one = |of: fn(&Spans) -> &Span| {
        let (low, high) = (of(floor).seconds(), of(&agent.spans).seconds());
        let explained = explained.map_or_else(String::new, |[watched, patched]| {
            format!(" (watched {:.3}, patched {:.3})", of(watched).seconds(), of(patched).seconds())
        });
        format!("floor {low:.3} s{explained}, agent {high:.3} s, ratio {:.3}", high / low)
    };
    let name = if round == 0 { "warm-up".to_owned() } else { format!("pair {round}") };
    format!("{name:>8}: create: {}; update: {}", one(|spans| &spans.create), one(|spans| &spans.update))
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |n: usize| sorted.get(n).copied().unwrap_or(f64::NAN);
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { at(half) } else { f64::midpoint(at(half.saturating_sub(1)), at(half)) }
}

fn spread(values: &[f64], unit: &str) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
    format!("median {:.3}{unit}, from {least:.3} to {most:.3}", median(values))
}
