//! Compressing and sealing: at once, or by worker threads.

/// Where chunks are compressed and sealed.
pub struct SealStage {}

impl SealStage {
    /// On the caller's thread: the same input gives the same output in the same order of steps.
    #[must_use]
    pub fn inline() -> Self {
        Self {}
    }

    /// On `threads` worker threads that end with the stage.
    ///
    /// # Errors
    /// Those of the system.
    pub fn pool(_threads: usize) -> std::io::Result<Self> {
        Ok(Self {})
    }
}
