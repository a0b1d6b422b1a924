// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"
#include "tree.h"

#define FDINFO	"/proc/self/fdinfo/"

char tree_root[32] = "/tmp/fuzz-tree.XXXXXX";
const char *tree_real;
static bool made;

static const char *below_root(const char *path, char below[PATH_MAX])
{
	/* a descriptor's number is whatever happened to be free */
	if (!strncmp(path, FDINFO, strlen(FDINFO)))
		path = FDINFO "0";
	PROMISE(path[0] == '/');
	PROMISE(snprintf(below, PATH_MAX, "%s%s", tree_root, path) < PATH_MAX);
	return below;
}

static void remove_tree(void)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s", tree_root);
	if (system(command))
		fprintf(stderr, "%s stays\n", tree_root);
}

bool tree_make(void)
{
	if (made)
		return false;
	PROMISE(mkdtemp(tree_root));
	atexit(remove_tree);
	made = true;
	return true;
}

void tree_folder(const char *path)
{
	char all[PATH_MAX], *p;

	below_root(path, all);
	for (p = all + strlen(tree_root) + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		mkdir(all, 0700);
		*p = '/';
	}
	mkdir(all, 0700);
}

void tree_write(const char *folder, const char *name, const void *bytes,
		size_t n)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s%s/%s", tree_root, folder, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	PROMISE(fd >= 0);
	PROMISE(write(fd, bytes, n) == (ssize_t)n);
	close(fd);
}

void tree_remove(const char *folder, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s%s/%s", tree_root, folder, name);
	unlink(path);
}

void tree_link(const char *link, const char *target)
{
	char at[PATH_MAX], to[PATH_MAX];

	PROMISE(!symlink(below_root(target, to), below_root(link, at)));
}

unsigned int tree_open_files(void)
{
	unsigned int n = 0;
	DIR *dir = opendir("/proc/self/fd");

	PROMISE(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

FILE *fuzz_fopen(const char *path, const char *mode)
{
	char below[PATH_MAX];

	return fopen(below_root(path, below), mode);
}

int fuzz_open(const char *path, int flags, ...)
{
	char below[PATH_MAX];

	/* what is missing in sysfs cannot be made there */
	PROMISE(!(flags & O_CREAT));
	return open(below_root(path, below), flags);
}

DIR *fuzz_opendir(const char *path)
{
	char below[PATH_MAX];

	return opendir(below_root(path, below));
}

char *fuzz_realpath(const char *path, char *resolved)
{
	char below[PATH_MAX], real[PATH_MAX];
	const char *answer = tree_real;

	if (!answer) {
		if (!realpath(below_root(path, below), real))
			return NULL;
		answer = real + strlen(tree_root);
	}
	return resolved ? strcpy(resolved, answer) : strdup(answer);
}
