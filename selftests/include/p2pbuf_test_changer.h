/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A thread that changes one field of what the kernel is about to read: good
 * and wrong by turns, all the time. Include after kselftest_harness.h.
 */
#ifndef P2PBUF_TEST_CHANGER_H
#define P2PBUF_TEST_CHANGER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include <linux/types.h>

/**
 * struct pt_changer - a field and what becomes of it
 * @name: for messages
 * @offset: where it is
 * @bytes: 4 or 8
 * @values: the good one and the wrong one. They differ in one byte: who copies
 *	the field byte by byte gets one of the two, as well
 * @error: what the wrong one is refused with
 * @at: for the test
 * @good: times the good one was read
 * @bad: times it was refused
 */
struct pt_changer {
	const char *name;
	size_t offset;
	unsigned int bytes;
	__u64 values[2];
	int error;
	__u64 at;
	unsigned int good;
	unsigned int bad;

	volatile void *field;
	atomic_int stop;
	pthread_t thread;
};

static inline void *pt_changer_run(void *arg)
{
	struct pt_changer *c = arg;
	unsigned int i;

	for (i = 0; !atomic_load(&c->stop); i++)
		if (c->bytes == 8)
			*(volatile __u64 *)c->field = c->values[i % 2];
		else
			*(volatile __u32 *)c->field = c->values[i % 2];
	return NULL;
}

/* @whole: what the field is in. */
static inline int pt_changer_start(struct pt_changer *c, void *whole)
{
	c->field = (char *)whole + c->offset;
	atomic_init(&c->stop, 0);
	return pthread_create(&c->thread, NULL, pt_changer_run, c);
}

/*
 * Wait, for a moment, until the field is wrong: then the thread runs beside
 * us, and has been at it since we wrote what is good.
 */
static inline void pt_changer_meet(const struct pt_changer *c)
{
	unsigned int tries;
	__u64 now;

	for (tries = 0; tries < 100000; tries++) {
		now = c->bytes == 8 ? *(volatile __u64 *)c->field :
				      *(volatile __u32 *)c->field;
		if (now == c->values[1])
			break;
	}
}

static inline void pt_changer_stop(struct pt_changer *c)
{
	atomic_store(&c->stop, 1);
	pthread_join(c->thread, NULL);
}

/* Once more? At least @least times, then until both have come, or @most. */
static inline bool pt_changer_goes_on(const struct pt_changer *c,
				      unsigned int least, unsigned int most)
{
	unsigned int tries = c->good + c->bad;

	return tries < least || (tries < most && (!c->good || !c->bad));
}

/*
 * Last in a test: which field was never read with both its values, and so says
 * nothing? Nobody can make a thread run at the right moment: the test is
 * skipped then, and has not failed. NULL when there is none.
 */
static inline const char *pt_changer_missed(struct __test_metadata *_metadata,
					    const struct pt_changer *c,
					    unsigned int nr)
{
	const char *missed = NULL;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		TH_LOG("%s: good %u times, refused %u times", c[i].name,
		       c[i].good, c[i].bad);
		if (!c[i].good || !c[i].bad)
			missed = c[i].name;
	}
	return __test_passed(_metadata) ? missed : NULL;
}

#endif /* P2PBUF_TEST_CHANGER_H */
