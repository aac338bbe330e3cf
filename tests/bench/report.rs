//! Figures, and what they say.

use anyhow::{Result, ensure};
use jiff::Timestamp;
use testbed::Requests;

use crate::budget::Budgets;

/// The design's budget: the agent's time over the floor's. The design means plain writes. With one watch alone the
/// server was seen to take 1.24 times its processor time, on cores that it shares, and nobody repairs what he does not
/// watch: so the agent is held to the same over a floor that watches too, which tells what it costs by itself.
const BUDGET: f64 = 1.15;

/// From the arrival of the first request to the end of the last one, by the server's clock.
pub(crate) struct Span {
    pub(crate) begin: Timestamp,
    pub(crate) end: Timestamp,
    pub(crate) requests: usize,
    /// Of that, until the first write: seconds.
    pub(crate) lead: f64,
    /// CPU seconds of the API server; unlike the time, other load on the machine hardly changes them.
    pub(crate) server_cpu: f64,
}

/// Create and update.
pub(crate) struct Spans {
    pub(crate) create: Span,
    pub(crate) update: Span,
}

/// Of one round.
pub(crate) struct Floors {
    pub(crate) plain: Spans,
    /// With a watch on what it writes.
    pub(crate) watched: Spans,
    /// The watch, and updates by the agent's patches.
    pub(crate) patched: Spans,
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
        Ok(Self { begin, end, requests: requests.count(), lead: 0.0, server_cpu: 0.0 })
    }

    fn seconds(&self) -> f64 {
        self.end.duration_since(self.begin).as_secs_f64()
    }
}

/// All rounds that count.
#[derive(Default)]
pub(crate) struct Report {
    floors: Vec<Floors>,
    agents: Vec<AgentRun>,
}

impl Report {
    pub(crate) fn add(&mut self, floors: Floors, agent: AgentRun) {
        self.floors.push(floors);
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
        let floors = |of: Which| self.floors.iter().map(move |floors| span(of(floors)));
        let agents = || self.agents.iter().map(|agent| span(&agent.spans));
        let ratio = |of| agents().zip(floors(of)).map(|(agent, floor)| agent.seconds() / floor.seconds()).collect();
        let [plain, watched, patched]: [Vec<f64>; 3] = FLOORS.map(|(_, of)| ratio(of));
        println!("{name}:");
        for ((what, of), ratios) in FLOORS.into_iter().zip([&plain, &watched, &patched]) {
            let seconds: Vec<_> = floors(of).map(Span::seconds).collect();
            println!("  {what}  {}; the agent's ratio to it {}", spread(&seconds, "s"), spread(ratios, ""));
        }
        println!("  agent    {}", spread(&agents().map(Span::seconds).collect::<Vec<_>>(), "s"));
        println!(
            "  its lead {}, until its first write",
            spread(&agents().map(|span| span.lead).collect::<Vec<_>>(), "s")
        );
        let server =
            |spans: &mut dyn Iterator<Item = &Span>| spread(&spans.map(|s| s.server_cpu).collect::<Vec<_>>(), "s");
        for (what, of) in FLOORS {
            println!("  CPU of the server {} {what}", server(&mut floors(of)));
        }
        println!("                    {} with the agent", server(&mut agents()));
        println!("  CPU of the agent  {}", spread(&self.agents.iter().map(cpu).collect::<Vec<_>>(), "s"));
        let replicas: usize = floors(|floors| &floors.plain).map(|span| span.requests).sum();
        let requests: usize = agents().map(|span| span.requests).sum();
        budgets.hold("requests per replica", requests as f64 / replicas as f64, 1.0, "");
        budgets.hold("ratio", median(&plain), BUDGET, "");
        budgets.hold("ratio to a floor that watches", median(&watched), BUDGET, "");
    }
}

type Which = fn(&Floors) -> &Spans;

/// What is told of each, and which.
const FLOORS: [(&str, Which); 3] =
    [("floor  ", |floors| &floors.plain), ("watched", |floors| &floors.watched), ("patched", |floors| &floors.patched)];

/// One round in one line.
pub(crate) fn line(round: u32, floors: &Floors, agent: &AgentRun) -> String {
    let one = |of: fn(&Spans) -> &Span| {
        let (low, high) = (of(&floors.plain).seconds(), of(&agent.spans).seconds());
        let (watched, patched) = (of(&floors.watched).seconds(), of(&floors.patched).seconds());
        let ratio = high / low;
        format!("floor {low:.3} s (watched {watched:.3}, patched {patched:.3}), agent {high:.3} s, ratio {ratio:.3}")
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
