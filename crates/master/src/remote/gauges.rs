//! What metrics tell of remote clusters, beside what their engines do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use jiff::Timestamp;
use sync_core::ops::metrics::text::Page;
use sync_core::ops::metrics::{Tells, families};
use tokio::sync::watch as state;

use super::crd::RemoteClusterStatus;
use super::receipt::AgentState;
use super::status::{self, Outcome, Report};
use crate::eks::login::Login;

/// The remote clusters that there are, by name, for as long as they are served.
#[derive(Debug, Default)]
pub struct Gauges {
    reports: Mutex<BTreeMap<String, state::Receiver<Report>>>,
    logins: Mutex<BTreeMap<String, Weak<Login>>>,
}

impl Gauges {
    /// A remote cluster is served from now on.
    pub(super) fn serves(&self, name: &str, reports: state::Receiver<Report>) {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), reports);
    }

    /// What its status would say, if it is served.
    pub(crate) fn status(&self, name: &str) -> Option<RemoteClusterStatus> {
        let reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        let report = reports.get(name)?.borrow().clone();
        status::next(None, &report, Timestamp::now())
    }

    /// We are logged in there.
    pub(super) fn logged_in(&self, name: &str, login: &Arc<Login>) {
        self.logins.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), Arc::downgrade(login));
    }
}

impl Tells for Gauges {
    fn tell(&self, page: &mut Page) {
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        // Of those that nobody reports of any more nothing is known.
        reports.retain(|_, report| report.has_changed().is_ok());
        for (name, report) in &*reports {
            let report = report.borrow();
            let (outcome, here) = (&report.outcome, ("remote_cluster", &**name));
            let ready = f64::from(u8::from(*outcome == Outcome::Ready));
            page.set(&families::REMOTE_READY, &[("reason", outcome.reason()), here], ready);
            let Some(agent) = report.receipt.as_ref().map(|receipt| &receipt.agent) else { continue };
            let reporting = f64::from(u8::from(agent.state == AgentState::Reporting));
            page.set(&families::AGENT_REPORTING, &[here, ("state", agent.state.as_str())], reporting);
            for (state, count) in [("pending", agent.pending), ("refused", agent.refused)] {
                page.set(&families::AGENT_COPIES, &[here, ("state", state)], count as f64);
            }
        }
        let mut logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
        logins.retain(|_, login| login.strong_count() > 0);
        for (name, login) in &*logins {
            if let Some(age) = login.upgrade().and_then(|login| login.age()) {
                page.set(&families::TOKEN_AGE, &[("remote_cluster", name)], age.as_secs_f64());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::receipt::{AgentStatus, Receipt};

    #[test]
    fn a_remote_cluster_is_told_of_while_it_is_served() {
        let gauges = Gauges::default();
        let text = |gauges: &Gauges| {
            let mut page = Page::default();
            gauges.tell(&mut page);
            page.render()
        };
        let (report, reports) = state::channel(Report::new(Some(1), "operator".to_owned()));
        gauges.serves("far", reports);
        let line = |reason, ready| {
            format!("mw_sync_remote_cluster_ready{{reason=\"{reason}\",remote_cluster=\"far\"}} {ready}\n")
        };
        assert!(text(&gauges).contains(&line("Connecting", 0)));
        report.send_modify(|report| report.outcome = Outcome::Ready);
        let status = gauges.status("far").unwrap();
        assert_eq!(status.ready().map(|ready| ready.reason.as_str()), Some("Connected"));
        assert!(gauges.status("near").is_none());
        assert!(text(&gauges).contains(&line("Connected", 1)) && !text(&gauges).contains("Connecting"));
        assert!(!text(&gauges).contains("mw_sync_agent"), "nothing has been heard of an agent");
        let agent = AgentStatus { state: AgentState::Silent, pending: 2, ..AgentStatus::default() };
        report.send_modify(|report| report.receipt = Some(Receipt { agent, copies: Vec::new() }));
        for line in [
            "mw_sync_agent_reporting{remote_cluster=\"far\",state=\"Silent\"} 0\n",
            "mw_sync_agent_copies{remote_cluster=\"far\",state=\"pending\"} 2\n",
            "mw_sync_agent_copies{remote_cluster=\"far\",state=\"refused\"} 0\n",
        ] {
            assert!(text(&gauges).contains(line), "{line}");
        }
        let agent = AgentStatus { state: AgentState::Reporting, ..AgentStatus::default() };
        report.send_modify(|report| report.receipt = Some(Receipt { agent, copies: Vec::new() }));
        assert!(text(&gauges).contains("mw_sync_agent_reporting{remote_cluster=\"far\",state=\"Reporting\"} 1\n"));
        drop(report);
        assert!(!text(&gauges).contains("far"));
    }
}
