// What the headers of a program or a shared library say, and which function lies at a place of it. Reads with
// bounds, maps nothing: a file that is cut off, or is changed meanwhile, is an answer and no signal.
#pragma once

#include "common/base/result.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace rtrain::os {

struct ElfFile {
  std::string machine;  ///< "x86_64", "aarch64", ...
  std::uint64_t file_bytes = 0;
  std::uint64_t needed_bytes = 0;  ///< what the headers ask for: above file_bytes the file is cut off
  std::string interpreter;  ///< of a program: the loader that it names; "" for a library and a static program
};

/// kNotFound, kIo. kInvalidArgument: no ELF file; the message says what it is instead ("is empty", "is no ELF
/// file").
[[nodiscard]] Result<ElfFile> read_elf(const std::string& path);
/// Why the file cannot be loaded: "PATH is truncated: it has 12 bytes, its ELF header requires 345", or what
/// read_elf() says. "": its headers ask for nothing that is not there.
[[nodiscard]] std::string why_damaged(const std::string& path);
/// Of this process, in the words of ElfFile::machine.
[[nodiscard]] std::string own_machine();

struct ElfSymbol {
  std::string name;          ///< as the linker knows it: mangled
  std::uint64_t offset = 0;  ///< of the place within the function
};
/// The functions that lie at these offsets of the file (as /proc/PID/maps counts them), from its full symbol
/// table, else the dynamic one. One entry an offset; nothing where no function is known.
[[nodiscard]] std::vector<std::optional<ElfSymbol>> elf_symbols(
    const std::string& path, const std::vector<std::uint64_t>& file_offsets);

}  // namespace rtrain::os
