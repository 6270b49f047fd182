//! A gate that blocks requests until a test opens it.

use tokio::sync::Semaphore;

/// A gate that is closed at first.
#[derive(Debug)]
pub struct Gate {
    arrived: Semaphore,
    open: Semaphore,
}

impl Default for Gate {
    fn default() -> Self {
        Self { arrived: Semaphore::new(0), open: Semaphore::new(0) }
    }
}

impl Gate {
    /// Arrives at the gate and waits until [`open`](Self::open) lets the caller through.
    pub async fn pass(&self) {
        self.arrived.add_permits(1);
        wait(&self.open).await;
    }

    /// Waits until another caller has arrived at the gate.
    pub async fn wait_for_arrival(&self) {
        wait(&self.arrived).await;
    }

    /// Lets `callers` callers through.
    pub fn open(&self, callers: usize) {
        self.open.add_permits(callers);
    }
}

/// Takes one permit.
async fn wait(semaphore: &Semaphore) {
    semaphore.acquire().await.expect("the semaphore is never closed").forget();
}
