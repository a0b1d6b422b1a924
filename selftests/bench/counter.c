// SPDX-License-Identifier: GPL-2.0
/*
 * The instruction counter.
 *
 * Under an emulator that counts instructions (QEMU's -icount shift=0) the
 * guest's clock advances by one nanosecond for each instruction, and the time
 * stamp counter of QEMU's CPU by one for each nanosecond. So a difference of
 * two time stamps is the number of instructions in between: user space, system
 * calls and interrupts alike. Anywhere else it is not, so this is proven with
 * loops of known length before any figure is given.
 *
 * An idle CPU executes nothing, but its clock jumps to the next timer. A
 * burst must therefore never idle; it waits for the drive in a loop of known
 * length, which is subtracted.
 */
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "bench.h"

#define CALIBRATE_TRIES	50
#define CALIBRATE_SHORT	1000
#define CALIBRATE_LONG	10000

/* Instructions of an iteration, and the one that loads the count. */
#define SPIN_LOOP	6
#define SPIN_SETUP	1

static uint64_t counter_cost;

/* What a pair of bench_counter() costs by itself. */
uint64_t bench_counter_cost(void)
{
	return counter_cost;
}

/*
 * Spends exactly what it returns, @instructions or a few less. The drive is
 * emulated in real time while instructions are counted: the arcus tangent is
 * the one that keeps the emulator busy longest, so fewer will do.
 */
__attribute__((always_inline))
static inline uint64_t spin(uint64_t instructions)
{
	uint64_t loops = (instructions - SPIN_SETUP) / SPIN_LOOP;
	uint64_t left;

	__asm__ volatile("mov %1, %0\n"
			 "1:\tfldl2e\n\tfldpi\n\tfpatan\n\tfstp %%st(0)\n\t"
			 "dec %0\n\tjnz 1b"
			 : "=&r"(left) : "r"(loops)
			 : "cc", "memory", "st", "st(1)");
	return loops * SPIN_LOOP + SPIN_SETUP;
}

/* Not inline, so that no caller's loop gets mixed up with it. */
__attribute__((noinline)) uint64_t bench_spin(uint64_t instructions)
{
	return spin(instructions);
}

/* Fewest of many: an interrupt may come in between. */
static uint64_t shortest(uint64_t instructions, uint64_t *spent)
{
	uint64_t best = UINT64_MAX, before, after;
	int i;

	for (i = 0; i < CALIBRATE_TRIES; i++) {
		before = bench_counter();
		*spent = instructions ? spin(instructions) : 0;
		after = bench_counter();
		if (after - before < best)
			best = after - before;
	}
	return best;
}

/**
 * bench_calibrate - is the time stamp counter an instruction counter here?
 * @why: what it is instead
 * @len: of @why
 *
 * Return: 0, or -EOPNOTSUPP with @why.
 */
int bench_calibrate(char *why, size_t len)
{
	uint64_t few, many, spent_few, spent_many, ignored;

	counter_cost = shortest(0, &ignored);
	few = shortest(CALIBRATE_SHORT, &spent_few) - counter_cost;
	many = shortest(CALIBRATE_LONG, &spent_many) - counter_cost;
	/* A handful for keeping the operands in registers, none per loop. */
	if (many - few == spent_many - spent_few && few >= spent_few &&
	    few - spent_few <= 8 && counter_cost <= 32)
		return 0;
	snprintf(why, len,
		 "the time stamp counter does not count instructions here: loops of %llu and %llu took %llu and %llu, a pair of readings %llu",
		 (unsigned long long)spent_few, (unsigned long long)spent_many,
		 (unsigned long long)few, (unsigned long long)many,
		 (unsigned long long)counter_cost);
	return -EOPNOTSUPP;
}

/*
 * Timer interrupts so far. The coarse clock is advanced by the tick alone and
 * read without a system call.
 */
uint64_t bench_ticks(void)
{
	struct timespec now, tick;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	clock_getres(CLOCK_MONOTONIC_COARSE, &tick);
	return ((uint64_t)now.tv_sec * 1000000000 + now.tv_nsec) /
	       (uint64_t)tick.tv_nsec;
}
