#include "common/os/elf.h"

#include "common/os/file.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

#include <fstream>
#include <sstream>

namespace elf_test {

using namespace rtrain;

// Not static: a name that the optimizer keeps.
[[gnu::noinline]] int elf_test_place(int value) { return value * 3 + 1; }

namespace {

/// Where a place in this program lies in its file.
std::uint64_t offset_in_file(const void* place) {
  const auto address = reinterpret_cast<std::uint64_t>(place);
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    std::istringstream fields(line);
    std::uint64_t begin = 0, end = 0, offset = 0;
    char dash = 0;
    std::string rights;
    fields >> std::hex >> begin >> dash >> end >> rights >> offset;
    if (address >= begin && address < end) return address - begin + offset;
  }
  return 0;
}

}  // namespace

TEST_CASE("elf: a whole file, one that is cut off, and what is none", "[F28]") {
  const auto self = os::read_elf("/proc/self/exe");
  REQUIRE(self.has_value());
  CHECK(self->machine == os::own_machine());
  CHECK(self->needed_bytes <= self->file_bytes);
  CHECK(os::why_damaged("/proc/self/exe").empty());
  CHECK(self->interpreter.find("ld-") != std::string::npos);

  const test::TempDir dir;
  const auto bytes = os::read_file("/proc/self/exe", 1u << 30).value();
  for (const auto kept :
       {bytes.size() / 2, bytes.size() - 1, std::size_t{100}, std::size_t{64}, std::size_t{20}}) {
    INFO(kept);
    std::ofstream(dir / "cut", std::ios::binary) << bytes.substr(0, kept);
    const auto cut = os::read_elf((dir / "cut").string());
    REQUIRE(cut.has_value());
    CHECK(cut->file_bytes == kept);
    CHECK(cut->needed_bytes > kept);
    CHECK(os::why_damaged((dir / "cut").string())
              .starts_with((dir / "cut").string() + " is truncated: it has " + std::to_string(kept) +
                           " bytes, its ELF header requires "));
  }
  std::ofstream(dir / "text") << "#!/bin/sh\n";
  CHECK(os::read_elf((dir / "text").string()).error().message() ==
        (dir / "text").string() + " is no ELF file");
  std::ofstream(dir / "empty") << "";
  CHECK(os::read_elf((dir / "empty").string()).error().message() ==
        (dir / "empty").string() + " is empty or no file");
  CHECK(os::read_elf((dir / "nowhere").string()).error().code() == Errc::kIo);
  CHECK_FALSE(os::read_elf(dir.path().string()).has_value());
}

TEST_CASE("elf: headers of a damaged file may say anything", "[F28]") {
  const test::TempDir dir;
  const auto good = os::read_file("/proc/self/exe", 1u << 30).value().substr(0, 1u << 16);
  for (std::size_t at = 16; at < 64; ++at) {
    auto bytes = good;
    bytes[at] = '\xff';
    std::ofstream(dir / "damaged", std::ios::binary) << bytes;
    (void)os::read_elf((dir / "damaged").string());
    CHECK(os::elf_symbols((dir / "damaged").string(), {4096, ~0ULL}).size() == 2);
  }
}

TEST_CASE("elf: the function at a place of a file", "[F34]") {
  const auto offset = offset_in_file(reinterpret_cast<const void*>(&elf_test_place));
  REQUIRE(offset > 0);
  const auto symbols = os::elf_symbols("/proc/self/exe", {offset, offset + 1, 1});
  REQUIRE(symbols.size() == 3);
  REQUIRE(symbols[0].has_value());
  CHECK(symbols[0]->name.find("elf_test_place") != std::string::npos);
  CHECK(symbols[0]->offset == 0);
  CHECK(symbols[1]->offset == 1);
  CHECK_FALSE(symbols[2].has_value());  // the header is no function
  CHECK_FALSE(os::elf_symbols("/nowhere", {1})[0].has_value());
  CHECK(elf_test_place(1) == 4);
}

}  // namespace elf_test
