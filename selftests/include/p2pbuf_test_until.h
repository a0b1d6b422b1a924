/* SPDX-License-Identifier: GPL-2.0 */
/* To look again and again until something is so. */
#ifndef P2PBUF_TEST_UNTIL_H
#define P2PBUF_TEST_UNTIL_H

#include <stdbool.h>
#include <time.h>

/*
 * Has @condition been seen to be true, at a look every 5 ms, for @ms of sleep?
 * What was seen once counts: a task that sleeps in slices is awake for a moment
 * between two of them, perhaps just at the next look.
 */
#define ptk_until(condition, ms) ({					\
	const struct timespec _pause = { .tv_nsec = 5000000L };		\
	unsigned int _left = (ms) / 5;					\
	bool _seen;							\
									\
	while (!(_seen = (condition)) && _left--)			\
		nanosleep(&_pause, NULL);				\
	_seen;								\
})

#endif /* P2PBUF_TEST_UNTIL_H */
