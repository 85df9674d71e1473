//! Those outside of the program who act when it no longer says that it is well.

pub(crate) mod guardian;
pub(crate) mod systemd;
pub(crate) mod watchdog;

/// Is told that all is well, many times a second, for as long as that is so.
pub(crate) trait Keeper: Send {
    /// Every part of the program makes progress.
    ///
    /// # Errors
    /// When it is not there any more: nobody would act then.
    fn well(&mut self) -> Result<(), String>;

    /// The program ends in good order.
    fn ending(&mut self) {}
}
