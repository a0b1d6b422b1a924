/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Subcommands: argv[0] is the subcommand's name. They return an exit status:
 * 0, 1 for a failure that was explained on stderr, 2 for wrong usage.
 */
#ifndef P2PBUF_TOOL_H
#define P2PBUF_TOOL_H

int cmd_list(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_why(int argc, char **argv);
int cmd_copy(int argc, char **argv);
extern const char copy_usage[];

#endif /* P2PBUF_TOOL_H */
