/* SPDX-License-Identifier: GPL-2.0 */
/* What an unprivileged process may do: a child without any right. */
#ifndef P2PBUF_TEST_NOBODY_H
#define P2PBUF_TEST_NOBODY_H

#include <grp.h>
#include <unistd.h>
#include <sys/wait.h>

#define PT_NOBODY	65534

/* For good, in this process. */
static inline int pt_become_nobody(void)
{
	return setgroups(0, NULL) || setresgid(PT_NOBODY, PT_NOBODY, PT_NOBODY) ||
	       setresuid(PT_NOBODY, PT_NOBODY, PT_NOBODY);
}

/*
 * Run @fn in a child, as nobody or as who we are. Returns what @fn returned
 * (0 to 255), or -1 when the child did not end by itself.
 */
static inline int pt_child(int (*fn)(void *), void *arg, int nobody)
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		return -1;
	if (!pid)
		_exit(nobody && pt_become_nobody() ? 255 : fn(arg));
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

/*
 * @statement in a child that is nobody; it passes by exiting with 0. Only for
 * tests: include kselftest_harness.h before.
 */
#define PT_AS_NOBODY(statement) do {					\
	int _status;							\
	pid_t _pid = fork();						\
									\
	ASSERT_LE(0, _pid);						\
	if (!_pid) {							\
		if (pt_become_nobody())					\
			_exit(100);					\
		statement;						\
	}								\
	ASSERT_EQ(_pid, waitpid(_pid, &_status, 0));			\
	EXPECT_TRUE(WIFEXITED(_status));				\
	EXPECT_EQ(0, WEXITSTATUS(_status));				\
} while (0)

#endif /* P2PBUF_TEST_NOBODY_H */
