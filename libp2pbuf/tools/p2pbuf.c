// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* The p2pbuf command, see p2pbuf(1): one function per subcommand. */

#include <stdio.h>
#include <string.h>

#include "tool.h"

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *usage;
} commands[] = {
	{ "list", cmd_list, "list" },
	{ "info", cmd_info, "info [EXPORTER]" },
	{ "why", cmd_why, "why EXPORTER IMPORTER" },
	{ "copy", cmd_copy, copy_usage },
};

static int usage(FILE *out)
{
	size_t i;

	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		fprintf(out, "%s p2pbuf %s\n", i ? "      " : "usage:",
			commands[i].usage);
	return out == stdout ? 0 : 2;
}

int main(int argc, char **argv)
{
	size_t i;

	if (argc < 2)
		return usage(stderr);
	if (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help"))
		return usage(stdout);
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].run(argc - 1, argv + 1);

	fprintf(stderr, "p2pbuf: no command '%s'\n", argv[1]);
	return usage(stderr);
}
