// SPDX-License-Identifier: BSD-3-Clause
// nftables commands by libnftables, in a child process: the library ends the process that uses it
// when it gets no memory.
#pragma once

// Runs the commands in one transaction. flags: NFT_CTX_OUTPUT_*. 0, or -EIO if nft refuses them, or
// -ENOMEM, … if they were not run or nobody knows. *ret_text: the caller's to free, NULL without a
// word; what the commands print, or (-EIO) why they were refused. ret_text may be NULL.
int nft_run(const char *commands, unsigned flags, char **ret_text);
