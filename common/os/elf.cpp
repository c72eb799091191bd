#include "common/os/elf.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

namespace rtrain::os {
namespace {

constexpr std::uint64_t kHeadersMax = 1u << 20;  // program and section headers
constexpr std::uint64_t kSymbolsMax = 512u << 20;
constexpr std::size_t kNameMax = 16'384;  // templates make long names

class Input {
 public:
  explicit Input(const std::string& path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    struct stat info {};
    if (fd_ >= 0 && ::fstat(fd_, &info) == 0 && S_ISREG(info.st_mode))
      size_ = static_cast<std::uint64_t>(info.st_size);
  }
  ~Input() {
    if (fd_ >= 0) ::close(fd_);
  }
  Input(const Input&) = delete;
  Input& operator=(const Input&) = delete;
  [[nodiscard]] bool is_open() const { return fd_ >= 0; }
  [[nodiscard]] std::uint64_t size() const { return size_; }

  /// What there is of [offset, offset + bytes).
  /// The text that begins there: up to the first NUL, at most `bytes`.
  [[nodiscard]] std::string text(std::uint64_t offset, std::uint64_t bytes) const {
    auto read_bytes = read(offset, bytes);
    read_bytes.resize(std::min(read_bytes.size(), read_bytes.find('\0')));
    return read_bytes;
  }
  [[nodiscard]] std::string read(std::uint64_t offset, std::uint64_t bytes) const {
    std::string data(static_cast<std::size_t>(offset >= size_ ? 0 : std::min(bytes, size_ - offset)), '\0');
    std::size_t done = 0;
    while (done < data.size()) {
      const auto got =
          ::pread(fd_, data.data() + done, data.size() - done, static_cast<off_t>(offset + done));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) break;
      done += static_cast<std::size_t>(got);
    }
    data.resize(done);
    return data;
  }

  template <class T>
  [[nodiscard]] std::vector<T> table(std::uint64_t offset, std::uint64_t count,
                                     std::uint64_t bytes_max) const {
    const auto data = read(offset, std::min(count, bytes_max / sizeof(T)) * sizeof(T));
    std::vector<T> rows(data.size() / sizeof(T));
    if (!rows.empty()) std::memcpy(rows.data(), data.data(), rows.size() * sizeof(T));
    return rows;
  }

 private:
  int fd_;
  std::uint64_t size_ = 0;
};

std::string name_of_machine(unsigned machine) {
  static constexpr std::array<std::pair<unsigned, const char*>, 8> kNames{{{EM_X86_64, "x86_64"},
                                                                           {EM_AARCH64, "aarch64"},
                                                                           {EM_386, "i686"},
                                                                           {EM_ARM, "arm"},
                                                                           {EM_PPC64, "ppc64le"},
                                                                           {EM_RISCV, "riscv64"},
                                                                           {EM_S390, "s390x"},
                                                                           {EM_MIPS, "mips"}}};
  for (const auto& [number, name] : kNames)
    if (number == machine) return name;
  return "machine " + std::to_string(machine);
}

bool is_elf(const std::string& bytes) {
  return bytes.size() >= EI_NIDENT && std::memcmp(bytes.data(), ELFMAG, SELFMAG) == 0;
}

/// a + b, or the highest number: headers of a damaged file may hold anything.
std::uint64_t plus(std::uint64_t a, std::uint64_t b) { return a + b < a ? ~0ULL : a + b; }

struct Headers {
  Elf64_Ehdr elf{};
  std::vector<Elf64_Phdr> segments;
};

/// nullopt: no ELF file of 64 bits.
std::optional<Headers> read_headers(const Input& input) {
  const auto bytes = input.read(0, sizeof(Elf64_Ehdr));
  if (!is_elf(bytes) || bytes.size() < sizeof(Elf64_Ehdr) || bytes[EI_CLASS] != ELFCLASS64)
    return std::nullopt;
  Headers headers;
  std::memcpy(&headers.elf, bytes.data(), sizeof headers.elf);
  headers.segments = input.table<Elf64_Phdr>(headers.elf.e_phoff, headers.elf.e_phnum, kHeadersMax);
  return headers;
}

std::uint64_t needed_bytes(const Headers& headers) {
  const auto& elf = headers.elf;
  std::uint64_t end =
      std::max(plus(elf.e_phoff, std::uint64_t{elf.e_phnum} * elf.e_phentsize),
               elf.e_shnum == 0 ? 0 : plus(elf.e_shoff, std::uint64_t{elf.e_shnum} * elf.e_shentsize));
  for (const auto& segment : headers.segments)
    if (segment.p_type == PT_LOAD) end = std::max(end, plus(segment.p_offset, segment.p_filesz));
  return end;
}

std::optional<std::uint64_t> address_of(const Headers& headers, std::uint64_t file_offset) {
  for (const auto& segment : headers.segments)
    if (segment.p_type == PT_LOAD && file_offset >= segment.p_offset &&
        file_offset - segment.p_offset < segment.p_filesz)
      return file_offset - segment.p_offset + segment.p_vaddr;
  return std::nullopt;
}

}  // namespace

Result<ElfFile> read_elf(const std::string& path) {
  const Input input(path);
  if (!input.is_open()) return fail_errno("open " + path, errno);
  const auto start = input.read(0, sizeof(Elf64_Ehdr));
  if (start.empty()) return fail(Errc::kInvalidArgument, path + " is empty or no file");
  if (!is_elf(start)) return fail(Errc::kInvalidArgument, path + " is no ELF file");
  ElfFile file;
  file.file_bytes = input.size();
  const auto headers = read_headers(input);
  if (!headers) {  // of 32 bits, or cut off within its first header
    if (start.size() >= EI_NIDENT + 4) {
      std::uint16_t machine = 0;
      std::memcpy(&machine, start.data() + EI_NIDENT + 2, sizeof machine);
      file.machine = name_of_machine(machine);
    }
    file.needed_bytes = start.size() < sizeof(Elf64_Ehdr) ? sizeof(Elf64_Ehdr) : 0;
    return file;
  }
  file.machine = name_of_machine(headers->elf.e_machine);
  file.needed_bytes = needed_bytes(*headers);
  for (const auto& segment : headers->segments)
    if (segment.p_type == PT_INTERP)
      file.interpreter = input.text(segment.p_offset, std::min<std::uint64_t>(segment.p_filesz, 4096));
  return file;
}

std::string why_damaged(const std::string& path) {
  const auto file = read_elf(path);
  if (!file) return file.error().message();
  if (file->needed_bytes <= file->file_bytes) return {};
  return path + " is truncated: it has " + std::to_string(file->file_bytes) +
         " bytes, its ELF header requires " + std::to_string(file->needed_bytes);
}

std::string own_machine() {
  utsname name{};
  return ::uname(&name) == 0 ? name.machine : "";
}

std::vector<std::optional<ElfSymbol>> elf_symbols(const std::string& path,
                                                  const std::vector<std::uint64_t>& file_offsets) {
  std::vector<std::optional<ElfSymbol>> found(file_offsets.size());
  const Input input(path);
  const auto headers = input.is_open() ? read_headers(input) : std::nullopt;
  if (!headers) return found;
  const auto sections = input.table<Elf64_Shdr>(headers->elf.e_shoff, headers->elf.e_shnum, kHeadersMax);
  const auto of_type = [&](unsigned type) { return std::ranges::find(sections, type, &Elf64_Shdr::sh_type); };
  auto table = of_type(SHT_SYMTAB);
  if (table == sections.end()) table = of_type(SHT_DYNSYM);
  if (table == sections.end() || table->sh_link >= sections.size()) return found;

  std::vector<std::optional<std::uint64_t>> addresses;
  for (const auto offset : file_offsets) addresses.push_back(address_of(*headers, offset));
  std::vector<const Elf64_Sym*> best(file_offsets.size(), nullptr);
  const auto symbols =
      input.table<Elf64_Sym>(table->sh_offset, table->sh_size / sizeof(Elf64_Sym), kSymbolsMax);
  for (const auto& symbol : symbols) {
    const auto type = ELF64_ST_TYPE(symbol.st_info);
    if ((type != STT_FUNC && type != STT_GNU_IFUNC) || symbol.st_shndx == SHN_UNDEF) continue;
    for (std::size_t i = 0; i < addresses.size(); ++i) {
      if (!addresses[i] || *addresses[i] < symbol.st_value) continue;
      if (symbol.st_size > 0 && *addresses[i] - symbol.st_value >= symbol.st_size) continue;
      if (best[i] == nullptr || symbol.st_value > best[i]->st_value) best[i] = &symbol;
    }
  }
  const auto& names = sections[table->sh_link];
  for (std::size_t i = 0; i < best.size(); ++i) {
    if (best[i] == nullptr || best[i]->st_name >= names.sh_size) continue;
    found[i] = ElfSymbol{input.text(plus(names.sh_offset, best[i]->st_name), kNameMax),
                         *addresses[i] - best[i]->st_value};
  }
  return found;
}

}  // namespace rtrain::os
