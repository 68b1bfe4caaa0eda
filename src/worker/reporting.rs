//! Where a worker's reports go: to the user's reporter, or the default way.

use std::sync::atomic::Ordering;

use super::default_report::Until;
use super::handle::Worker;
use super::inner::Inner;
use super::panics::catch_panic;
use crate::error::{Error, Result};
use crate::seat::report::{Report, Trouble};

impl Worker {
    pub(super) fn report_poller_ended(&self, error: &Error) {
        self.inner.report(&Report { source: "", event: "", id: None, trouble: Trouble::PollerEnded(error) });
    }
}

impl Inner {
    /// Reports. Never panics, whatever the user's reporter does.
    pub(super) fn report(&self, report: &Report<'_>) {
        let reported = catch_panic(|| {
            // The options are dropped in here, too: the reporter may be gone with them.
            let options = self.options();
            options.reporter.as_ref().map(|reporter| reporter(report)).is_some()
        });
        if self.guard.is_forked() {
            // A child that it has forked, and that left it by a panic perhaps: the report is the parent's.
            return;
        }
        match reported {
            Ok(true) => {}
            Ok(false) => self.report_by_default(report),
            Err(panic) => {
                self.reporters_failed.fetch_add(1, Ordering::Relaxed);
                self.report_by_default(report);
                self.report_by_default(&Report { trouble: Trouble::ReporterPanicked(&panic), ..*report });
            }
        }
    }

    fn report_by_default(&self, report: &Report<'_>) {
        let panics = self.default_reports.report(report, self.seat, self.clock.coarse_ns());
        self.reporters_failed.fetch_add(panics, Ordering::Relaxed);
    }

    /// Tells how many reports were left out, if it is time to.
    #[inline]
    pub(super) fn tell_left_out_reports(&self) -> Result<()> {
        if self.default_reports.is_due(|| self.clock.coarse_ns()) {
            self.tell_left_out_reports_until(Until::Now);
            // A subscriber of `tracing` is users' code.
            self.guard.check()?;
        }
        Ok(())
    }

    #[cold]
    pub(super) fn tell_left_out_reports_until(&self, until: Until) {
        let panics = self.default_reports.tell_left_out(self.seat, self.clock.coarse_ns(), until);
        self.reporters_failed.fetch_add(panics, Ordering::Relaxed);
    }
}
