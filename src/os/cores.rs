//! Which cores a process runs on (sched_setaffinity(2)).

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The cores that this process may run on: those of the machine, or of its container.
pub fn allowed() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect())
}

/// Keeps the calling thread, and every thread that it starts from now on, on these cores.
pub fn stay_on(cores: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for core in cores.iter().filter(|core| **core < CpuSet::MAX_CPU) {
        set.set(*core);
    }
    Ok(sched_setaffinity(None, &set)?)
}

/// Keeps the calling thread, and every thread that it starts from now on, off these cores, which others
/// need for themselves; where no other is left, everything stays as it is. Returns the cores that may be
/// used then.
pub fn keep_off(cores: &[usize]) -> io::Result<Vec<usize>> {
    let allowed = allowed()?;
    let ours = beside(&allowed, cores);
    if ours.is_empty() {
        return Ok(allowed);
    }
    stay_on(&ours)?;
    Ok(ours)
}

fn beside(allowed: &[usize], taken: &[usize]) -> Vec<usize> {
    allowed.iter().copied().filter(|core| !taken.contains(core)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_stays_where_it_is_told_and_so_do_those_that_it_starts() {
        let allowed = allowed().unwrap();
        let last = allowed[allowed.len() - 1];
        std::thread::spawn(move || {
            stay_on(&[last]).unwrap();
            assert_eq!(super::allowed().unwrap(), [last]);
            let started = std::thread::spawn(|| super::allowed().unwrap());
            assert_eq!(started.join().unwrap(), [last]);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn what_is_left_are_the_allowed_cores_that_others_have_not() {
        assert_eq!(beside(&[0, 1, 2, 3], &[1, 2]), [0, 3]);
        assert_eq!(beside(&[2, 3], &[0, 1, 2]), [3]);
        assert_eq!(beside(&[0, 1], &[7]), [0, 1]);
        assert!(beside(&[0], &[0]).is_empty());
        let before = allowed().unwrap();
        assert_eq!(keep_off(&before).unwrap(), before, "where none is left, everything stays");
    }

    #[test]
    fn a_core_that_is_not_there_is_an_error_and_no_panic() {
        assert!(stay_on(&[]).is_err());
        assert!(stay_on(&[usize::MAX]).is_err());
    }
}
