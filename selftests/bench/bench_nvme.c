// SPDX-License-Identifier: GPL-2.0
/*
 * bench_nvme [-d /dev/nvmeXnY] [-t TOPOLOGY] [-m METHOD]
 *            [-l METHOD:SIZE:DEPTH[:iopoll]]
 *
 * What a read from an NVMe drive into VRAM costs the CPU, in instructions, by
 * each of the ways there are. Only in a guest that counts instructions
 * (counter.c), started by `make bench`. The drive is only read. -m: this method
 * alone. -l: no figures, the same burst again and again for a minute, to be
 * looked at by a profiler.
 *
 * Exit status: 0 when all was measured, 1 otherwise, 4 when instructions
 * cannot be counted here.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define EXIT_CANNOT	4

/* By then a guest has done what it does after its boot. */
#define QUIET_AFTER	20	/* seconds of uptime */

#define LOOP_FOR	60	/* seconds */

static const uint32_t sizes[] = {
	4 * KIB, 64 * KIB, 128 * KIB, 512 * KIB, MIB,
};

static const uint32_t depths[] = { 32, 1 };

/* The one method to look at, or NULL. */
static const char *only;

static void wait_until_quiet(void)
{
	struct timespec quiet = { .tv_sec = QUIET_AFTER };

	clock_nanosleep(CLOCK_BOOTTIME, TIMER_ABSTIME, &quiet, NULL);
	/* The mapping, just made, changes to its settled state. */
	sleep(3);
}

static int measure(struct bench_run *run)
{
	struct bench_figure figure;
	int ret;

	ret = bench_run_settle(run);
	if (!ret)
		ret = bench_run_measure(run, &figure);
	if (!ret)
		bench_report_figure(run, &figure);
	return ret;
}

static int count(struct bench_run *run)
{
	struct bench_calls calls;
	int ret;

	ret = bench_run_settle(run);
	if (!ret)
		ret = bench_calls_count(run, &calls);
	if (!ret)
		bench_report_calls(run, &calls);
	return ret;
}

static void do_run(const struct bench_target *target,
		   const struct bench_method *method, uint32_t size,
		   uint32_t depth, bool polled, int (*what)(struct bench_run *))
{
	struct bench_run run;
	int ret;

	ret = bench_run_open(&run, target, method, size, depth, polled);
	/* No such command can be: nothing is missing. */
	if (ret == -EMSGSIZE)
		return;
	if (!ret) {
		ret = what(&run);
		bench_run_close(&run);
	}
	if (ret)
		bench_report_missing(&run, strerror(-ret));
	fflush(stdout);
}

static bool wanted(unsigned int method)
{
	return !only || !strcmp(only, bench_methods[method].name);
}

static void do_methods(const struct bench_target *target, uint32_t depth,
		       bool polled, int (*what)(struct bench_run *))
{
	unsigned int i, k;

	for (i = 0; i < bench_nr_methods; i++)
		for (k = 0; wanted(i) && k < ARRAY_SIZE(sizes); k++)
			do_run(target, &bench_methods[i], sizes[k], depth,
			       polled, what);
}

static void measure_all(const struct bench_target *target)
{
	unsigned int i;
	int polled;

	for (polled = 0; polled < 2; polled++) {
		for (i = 0; i < ARRAY_SIZE(depths); i++) {
			do_run(target, &bench_nop, 0, depths[i], polled,
			       measure);
			do_methods(target, depths[i], polled, measure);
		}
	}
}

static int count_all(const struct bench_target *target)
{
	char why[128];
	unsigned int i;

	if (bench_calls_open(why, sizeof(why))) {
		printf("not counted: %s\n", why);
		return -EOPNOTSUPP;
	}
	for (i = 0; i < ARRAY_SIZE(depths); i++)
		do_methods(target, depths[i], false, count);
	/* The stock ways map and allocate: counters that saw none are broken. */
	if (!only && !bench_report_counted()) {
		printf("not counted: the counters saw nothing at all\n");
		return -EIO;
	}
	return 0;
}

/* @what is METHOD:SIZE:DEPTH[:iopoll]. */
static int loop(const struct bench_target *target, const char *what)
{
	const struct bench_method *m = bench_methods;
	unsigned int size, depth;
	char name[32], polled[8] = "";
	struct bench_run run;
	time_t end;
	int ret;

	if (sscanf(what, "%31[^:]:%u:%u:%7s", name, &size, &depth, polled) < 3)
		return -EINVAL;
	while (m < bench_methods + bench_nr_methods && strcmp(m->name, name))
		m++;
	if (m == bench_methods + bench_nr_methods || !depth ||
	    depth > BENCH_MAX_DEPTH || size > MIB)
		return -EINVAL;
	ret = bench_run_open(&run, target, m, size, depth, polled[0]);
	if (ret)
		return ret;
	ret = bench_run_settle(&run);
	printf("looping\n");
	fflush(stdout);
	for (end = time(NULL) + LOOP_FOR; ret >= 0 && time(NULL) < end;)
		ret = bench_burst(&run);
	bench_run_close(&run);
	return ret < 0 ? ret : 0;
}

int main(int argc, char **argv)
{
	const char *topology = getenv("P2PBUF_TOPOLOGY");
	const char *disk = getenv("P2PBUF_NVME_MAIN");
	const char *looped = NULL;
	struct bench_target target;
	char why[256];
	int opt, ret;

	while ((opt = getopt(argc, argv, "d:l:m:t:")) != -1) {
		switch (opt) {
		case 'd':
			disk = optarg;
			break;
		case 'l':
			looped = optarg;
			break;
		case 'm':
			only = optarg;
			break;
		case 't':
			topology = optarg;
			break;
		default:
			return EXIT_FAILURE;
		}
	}
	if (!disk) {
		fprintf(stderr, "bench_nvme: no drive given (-d)\n");
		return EXIT_FAILURE;
	}
	bench_report_init(topology ? topology : "unknown");
	if (bench_calibrate(why, sizeof(why))) {
		fprintf(stderr, "bench_nvme: %s\n", why);
		return EXIT_CANNOT;
	}
	if (bench_target_open(&target, disk))
		return EXIT_FAILURE;
	wait_until_quiet();
	if (looped) {
		ret = loop(&target, looped);
		if (ret)
			fprintf(stderr, "bench_nvme: %s: %s\n", looped,
				strerror(-ret));
		return ret ? EXIT_FAILURE : EXIT_SUCCESS;
	}
	measure_all(&target);
	ret = count_all(&target);
	bench_report_print(&target);
	return ret || bench_report_failures() ? EXIT_FAILURE : EXIT_SUCCESS;
}
