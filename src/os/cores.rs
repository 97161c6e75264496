//! Which cores the calling thread may run on.

use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};

/// Keeps the calling thread, and those that it starts from now on, off these cores, which others need
/// for themselves. Where no other core is left, or the system refuses, everything stays as it is.
pub fn keep_off(cores: &[usize]) {
    let this = Pid::from_raw(0);
    let Ok(mut allowed) = sched_getaffinity(this) else { return };
    cores.iter().filter(|core| **core < CpuSet::MAX_CPU).for_each(|core| allowed.unset(*core));
    if allowed.count() > 0 {
        // A container may refuse; then it is the scheduler's choice, as before.
        let _ = sched_setaffinity(this, &allowed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed() -> Vec<usize> {
        let set = sched_getaffinity(None).unwrap();
        (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect()
    }

    #[test]
    fn a_thread_keeps_off_the_cores_of_others_unless_there_are_none_but_those() {
        std::thread::spawn(|| {
            let before = allowed();
            keep_off(&before);
            assert_eq!(allowed(), before);
            if let [first, rest @ ..] = &before[..]
                && !rest.is_empty()
            {
                keep_off(&[*first]);
                assert_eq!(allowed(), rest);
            }
        })
        .join()
        .unwrap();
    }
}
