// SPDX-License-Identifier: GPL-2.0
/*
 * One burst: `depth` I/Os prepared, submitted by one system call, waited for
 * in a loop of known length, reaped by one system call. The loop is
 * subtracted; what remains is everything the I/Os cost, user space, submission,
 * interrupts and task work.
 *
 * A burst does not count when the task slept (the drive had not finished: the
 * clock jumped) or was preempted. Of the rest those with the fewest timer
 * ticks count: the tick is no part of the I/O.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/uio.h>

#include "bench.h"

#define BURSTS_WARM	5
#define BURSTS		41
#define BURSTS_MAX	400

#define SPIN_FIRST	12500ULL
#define SPIN_LAST	51200000ULL
#define SPIN_LAST_POLLED 800000ULL
#define SETTLE_BURSTS	15

/* What bench_burst() returns for a burst that does not count. */
#define DISTURBED	1

struct sample {
	uint64_t instructions;
	uint64_t ticks;
};

static int register_buffers(struct bench_run *run)
{
	struct iovec iov[BENCH_MAX_DEPTH];
	uint32_t i;

	for (i = 0; i < run->depth; i++) {
		iov[i].iov_base = run->buffer + i * run->size;
		iov[i].iov_len = run->size;
	}
	return io_uring_register_buffers(&run->ring, iov, run->depth);
}

/**
 * bench_run_open - a ring with the files and buffers of a method
 * @run: filled; to be closed with bench_run_close() on success
 * @target: outlives @run
 * @method: how to do I/O
 * @size: of an I/O; @size * @depth fits BENCH_BUFFER
 * @depth: at most BENCH_MAX_DEPTH
 * @polled: an IOPOLL ring
 *
 * Return: 0, -EMSGSIZE if the drive cannot take @size by this method, -errno.
 */
int bench_run_open(struct bench_run *run, const struct bench_target *target,
		   const struct bench_method *method, uint32_t size,
		   uint32_t depth, bool polled)
{
	unsigned int flags = IORING_SETUP_SINGLE_ISSUER |
			     IORING_SETUP_DEFER_TASKRUN |
			     IORING_SETUP_TASKRUN_FLAG | method->ring_flags;
	int fd = method->fd(target);
	int ret;

	if (method->whole_command && size > target->max_io)
		return -EMSGSIZE;
	*run = (struct bench_run){
		.target = target,
		.method = method,
		.size = size,
		.depth = depth,
		.polled = polled,
		.spin = SPIN_FIRST,
	};
	if (polled)
		flags |= IORING_SETUP_IOPOLL;
	ret = io_uring_queue_init(2 * BENCH_MAX_DEPTH, &run->ring, flags);
	if (ret)
		return ret;
	ret = io_uring_register_files(&run->ring, &fd, 1);
	if (!ret && method->buffer) {
		run->buffer = method->buffer(target);
		ret = register_buffers(run);
	}
	if (!ret && method->enter)
		ret = method->enter(run);
	if (ret)
		io_uring_queue_exit(&run->ring);
	return ret;
}

void bench_run_close(struct bench_run *run)
{
	io_uring_queue_exit(&run->ring);
}

/* Number of I/Os whose CQE was there, or the first error. */
static int reap(struct bench_run *run)
{
	int expected = run->method->result_is_zero ? 0 : (int)run->size;
	struct io_uring_cqe *cqe;
	unsigned int head, n = 0;
	int ret = 0;

	io_uring_for_each_cqe(&run->ring, head, cqe) {
		n++;
		if (cqe->res != expected && !ret)
			ret = cqe->res < 0 ? cqe->res : -EIO;
		if (run->method->arrived)
			run->method->arrived(run, (uint32_t)cqe->user_data);
	}
	io_uring_cq_advance(&run->ring, n);
	return ret ? ret : (int)n;
}

static int submit_and_reap(struct bench_run *run, uint64_t *spun)
{
	struct io_uring_sqe *sqe;
	uint32_t i, done = 0;
	int ret;

	for (i = 0; i < run->depth; i++) {
		sqe = io_uring_get_sqe(&run->ring);
		run->method->prepare(run, sqe, i);
		sqe->user_data = i;
	}
	ret = io_uring_submit(&run->ring);
	if (ret != (int)run->depth)
		return ret < 0 ? ret : -EIO;
	*spun = run->spin ? bench_spin(run->spin) : 0;
	while (done < run->depth) {
		ret = io_uring_submit_and_wait(&run->ring, run->depth - done);
		if (ret >= 0)
			ret = reap(run);
		if (ret < 0)
			return ret;
		done += ret;
	}
	return 0;
}

static int burst(struct bench_run *run, struct sample *sample)
{
	struct rusage before, after;
	uint64_t start, end, spun = 0, ticks;
	int ret;

	getrusage(RUSAGE_SELF, &before);
	ticks = bench_ticks();
	start = bench_counter();
	ret = submit_and_reap(run, &spun);
	end = bench_counter();
	sample->ticks = bench_ticks() - ticks;
	getrusage(RUSAGE_SELF, &after);
	if (ret)
		return ret;
	if (before.ru_nvcsw != after.ru_nvcsw ||
	    before.ru_nivcsw != after.ru_nivcsw)
		return DISTURBED;
	sample->instructions = end - start - spun - bench_counter_cost();
	return 0;
}

/**
 * bench_burst - do one burst and forget what it cost
 * @run: the run
 *
 * Return: 0 when the task had the CPU all the time, 1 otherwise, or -errno.
 */
int bench_burst(struct bench_run *run)
{
	struct sample ignored;

	return burst(run, &ignored);
}

/* Bursts until @want of them count, at most @max. Returns how many do. */
static int collect(struct bench_run *run, struct sample *samples, int want,
		   int max, uint32_t *dropped)
{
	int n = 0, tries, ret;

	*dropped = 0;
	for (tries = 0; tries < max && n < want; tries++) {
		ret = burst(run, &samples[n]);
		if (ret < 0)
			return ret;
		if (ret == DISTURBED)
			++*dropped;
		else
			n++;
	}
	return n;
}

static int by_instructions(const void *a, const void *b)
{
	const struct sample *x = a, *y = b;

	return x->instructions < y->instructions ?
		       -1 : x->instructions > y->instructions;
}

/*
 * Keeps the samples with the fewest ticks, a quarter of them at least, sorted
 * by instructions. Returns how many.
 */
static int fewest_ticks(struct sample *samples, int n)
{
	uint64_t limit;
	int i, kept = 0;

	for (limit = 0; kept < (n + 3) / 4; limit++)
		for (kept = 0, i = 0; i < n; i++)
			kept += samples[i].ticks <= limit;
	limit--;
	for (kept = 0, i = 0; i < n; i++)
		if (samples[i].ticks <= limit)
			samples[kept++] = samples[i];
	qsort(samples, kept, sizeof(*samples), by_instructions);
	return kept;
}

/* The lower quartile: a busy host now and then delays the drive. */
static int pilot(struct bench_run *run, uint64_t *typical)
{
	struct sample samples[SETTLE_BURSTS];
	uint32_t dropped;
	int n;

	n = collect(run, samples, SETTLE_BURSTS, 2 * SETTLE_BURSTS, &dropped);
	if (n < 0)
		return n;
	if (n < SETTLE_BURSTS)
		return -EAGAIN;
	n = fewest_ticks(samples, n);
	*typical = samples[n / 4].instructions;
	return 0;
}

/* With interrupts a loop is long enough when no burst sleeps. */
static int settle_interrupt(struct bench_run *run)
{
	uint64_t typical;
	int ret;

	for (run->spin = SPIN_FIRST; run->spin <= SPIN_LAST; run->spin *= 2) {
		ret = pilot(run, &typical);
		if (ret != -EAGAIN)
			return ret;
	}
	return -ETIME;
}

/*
 * A polled ring does not sleep, it looks again and again, and each look costs.
 * So the best loop is the one after which it finds most at its first look.
 */
static int settle_polled(struct bench_run *run)
{
	uint64_t typical, least = UINT64_MAX, best = 0;
	int ret;

	for (run->spin = SPIN_FIRST; run->spin <= SPIN_LAST_POLLED;
	     run->spin *= 2) {
		ret = pilot(run, &typical);
		if (ret == -EAGAIN)
			continue;
		if (ret)
			return ret;
		if (typical < least) {
			least = typical;
			best = run->spin;
		}
	}
	run->spin = best;
	return best ? 0 : -ETIME;
}

/**
 * bench_run_settle - find how long the drive needs
 * @run: gets its spin
 *
 * Return: 0, -ETIME when no loop is long enough, or -errno.
 */
int bench_run_settle(struct bench_run *run)
{
	int i, ret;

	for (i = 0; i < BURSTS_WARM; i++) {
		ret = bench_burst(run);
		if (ret < 0)
			return ret;
	}
	return run->polled ? settle_polled(run) : settle_interrupt(run);
}

/**
 * bench_run_measure - instructions per I/O
 * @run: settled
 * @figure: filled
 *
 * Return: 0, -ETIME when too few bursts counted, or -errno.
 */
int bench_run_measure(struct bench_run *run, struct bench_figure *figure)
{
	struct sample samples[BURSTS];
	int n;

	n = collect(run, samples, BURSTS, BURSTS_MAX, &figure->dropped);
	if (n < 0)
		return n;
	if (n < BURSTS)
		return -ETIME;
	n = fewest_ticks(samples, n);
	figure->bursts = n;
	figure->median = samples[n / 2].instructions / run->depth;
	figure->p10 = samples[n / 10].instructions / run->depth;
	figure->p90 = samples[n * 9 / 10].instructions / run->depth;
	return 0;
}
