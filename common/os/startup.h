// What a program inherits from whoever started it, and must not trip over.
#pragma once

#include <initializer_list>
#include <vector>

namespace rtrain::os {

/// To call first in main(). Descriptors 0, 1 and 2 that are closed are opened on /dev/null: the next file to
/// be opened would be taken for stderr and written to. An inherited SIG_IGN for SIGCHLD, with which no
/// child's end can be waited for, becomes the default.
void settle_process();

/// Those of `signals` that this process was not told to ignore. Under nohup SIGHUP is ignored, in the
/// background of a script SIGINT is: that stays so.
[[nodiscard]] std::vector<int> not_ignored(std::initializer_list<int> signals);

/// Up to the hard limit, which is what the operator allows: the usual soft limit of 1,024 open files is less
/// than a head's connections, or than the files of a large checkpoint. Children inherit it.
void raise_file_limit();

}  // namespace rtrain::os
