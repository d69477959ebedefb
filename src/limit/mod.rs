//! How fast, and how often again. Decides, never does.
//!
//! Pure: the clock is an argument (time since some start of the caller's choosing), so a simulation drives the same code
//! through hours in milliseconds. No task, no sleep, no client type.
//!
//! - [`limiter`]: one per table and direction. Who may send the next request, and when. Built from [`bucket`] (debt),
//!   [`pace`] (what a congested server is believed to give), [`refused`] (how much it refuses), [`resource`] (a table or an
//!   index) and [`keys`] (a segment).
//! - [`pages`]: how large a page to ask for, and what it will cost; [`need`]: which segment most needs the next one.
//! - [`budget`]: what was typed, turned into a rate; [`price`]: how much money that is; [`throttle`]: why the server said no.
//! - [`width`]: how many transactions at once.
//! - [`gate`] and [`writers`] are not pure: a limiter, or a width, with the real clock, and tasks that wait.
//! - [`retry`]: when to try again what is no matter of capacity.

pub mod bucket;
pub mod budget;
pub mod gate;
pub mod keys;
pub mod limiter;
pub mod need;
pub mod pace;
pub mod pages;
pub mod price;
pub mod rate;
pub mod refused;
pub mod resource;
pub mod retry;
pub mod throttle;
pub mod width;
pub mod writers;
