// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* Any verdict gives a sentence that fits. */
#include "fuzz.h"
#include "internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct p2pbuf_path_info info;
	char text[512], *small;
	uint8_t room = input_byte(&in);
	int n, m;

	input_bytes(&in, &info, sizeof(info));
	n = p2pbuf_path_describe(&info, text, sizeof(text));
	PROMISE(n > 0 && n < (int)sizeof(text));
	PROMISE(strlen(text) == (size_t)n);
	PROMISE(p2pbuf_path_name(info.path)[0]);
	PROMISE(p2pbuf_strerror(info.reason)[0]);
	/* In less room it says how much there would have to be. */
	small = malloc(room);
	PROMISE(small || !room);
	m = p2pbuf_path_describe(&info, small, room);
	PROMISE(m == n);
	if (room)
		PROMISE(!strncmp(small, text, room - 1) && strlen(small) < room);
	free(small);
	return 0;
}
