/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Writing memory as debuggers do, which is past the page tables: what a
 * mapping's own protection forbids has to be forbidden once more.
 */
#ifndef P2PBUF_TEST_POKE_H
#define P2PBUF_TEST_POKE_H

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <unistd.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include <linux/types.h>

#define PTK_POKE_MEM		1
#define PTK_POKE_PTRACE		2
#define PTK_POKE_BROKEN		4

/* By ptrace, in a child that has inherited the mapping. */
static inline int ptk_poke_ptrace(volatile __u64 *at, __u64 value)
{
	int status, ways = PTK_POKE_BROKEN;
	pid_t pid = fork();

	if (pid < 0)
		return ways;
	if (!pid) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) == pid && WIFSTOPPED(status))
		ways = ptrace(PTRACE_POKEDATA, pid, (void *)at,
			      (void *)(uintptr_t)value) ? 0 : PTK_POKE_PTRACE;
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return ways;
}

/* By which of the ways could @value be written there? 0 is by none. */
static inline int ptk_poke(volatile __u64 *at, __u64 value)
{
	int mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	int ways = 0;

	if (mem < 0)
		return PTK_POKE_BROKEN;
	if (pwrite(mem, &value, sizeof(value), (off_t)(uintptr_t)at) >= 0)
		ways |= PTK_POKE_MEM;
	close(mem);
	return ways | ptk_poke_ptrace(at, value);
}

#endif /* P2PBUF_TEST_POKE_H */
