/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * A tree of files that stands for /sys, /proc and /dev of a machine.
 *
 * It is made once, in a folder of its own; each input replaces what is in its
 * files. A harness whose LIBRARY (see the Makefile) names fopen(), open(),
 * opendir() and realpath() has the library read there instead of on the
 * machine that it runs on.
 */
#ifndef P2PBUF_LIB_FUZZ_TREE_H
#define P2PBUF_LIB_FUZZ_TREE_H

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Made by tree_make(), removed when the process ends. */
extern char tree_root[32];
/* Not NULL: what the library's next realpath() of a function gives. */
extern const char *tree_real;

bool tree_make(void);	/* false if it is there already */
void tree_folder(const char *path);
void tree_write(const char *folder, const char *name, const void *bytes,
		size_t n);
void tree_remove(const char *folder, const char *name);
/* @link and @target are paths within the tree. */
void tree_link(const char *link, const char *target);
unsigned int tree_open_files(void);

/* What the library calls. */
FILE *fuzz_fopen(const char *path, const char *mode);
int fuzz_open(const char *path, int flags, ...);
DIR *fuzz_opendir(const char *path);
char *fuzz_realpath(const char *path, char *resolved);

#endif /* P2PBUF_LIB_FUZZ_TREE_H */
