#include <rtrain/safetensors.h>

#include <ATen/ops/empty.h>

#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <limits>
#include <optional>
#include <set>
#include <stdexcept>
#include <string_view>
#include <vector>

namespace rtrain {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors holds little-endian numbers");

using nlohmann::json;
constexpr std::uint64_t kHeaderBytesMax = 100'000'000;  // of the format
constexpr int kHeaderDepthMax = 4;                      // {"name": {"shape": [..]}} has 3
constexpr const char* kMetadata = "__metadata__";

struct DtypeName {
  const char* name;
  at::ScalarType type;
};
constexpr std::array kDtypes{DtypeName{"F64", at::kDouble}, DtypeName{"I64", at::kLong}, DtypeName{"F32", at::kFloat},
                             DtypeName{"I32", at::kInt},    DtypeName{"F16", at::kHalf}, DtypeName{"BF16", at::kBFloat16},
                             DtypeName{"I16", at::kShort},  DtypeName{"I8", at::kChar},  DtypeName{"U8", at::kByte},
                             DtypeName{"BOOL", at::kBool}};

const DtypeName* find_dtype(std::string_view name) {
  const auto* it = std::find_if(kDtypes.begin(), kDtypes.end(), [&](const auto& d) { return name == d.name; });
  return it == kDtypes.end() ? nullptr : it;
}
const DtypeName* find_dtype(at::ScalarType type) {
  const auto* it = std::find_if(kDtypes.begin(), kDtypes.end(), [&](const auto& d) { return type == d.type; });
  return it == kDtypes.end() ? nullptr : it;
}

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& why) { throw std::runtime_error(path.string() + ": " + why); }
[[noreturn]] void fail_errno(const std::filesystem::path& path, const std::string& what) {
  const int error = errno;
  fail(path, what + ": " + std::strerror(error));
}

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

// ---- writing

void write_all(int fd, const void* data, std::size_t size, const std::filesystem::path& path) {
  const auto* at = static_cast<const char*>(data);
  while (size > 0) {
    const auto wrote = ::write(fd, at, std::min<std::size_t>(size, 1u << 30));
    if (wrote < 0) {
      if (errno == EINTR) continue;
      fail_errno(path, "could not write");
    }
    at += wrote;
    size -= static_cast<std::size_t>(wrote);
  }
}

struct Entry {
  std::string name;
  const DtypeName* dtype;
  torch::Tensor tensor;
};

std::vector<Entry> entries_of(const std::filesystem::path& path, const SafeTensors& content) {
  std::vector<Entry> entries;
  entries.reserve(content.tensors.size());
  for (const auto& [name, tensor] : content.tensors) {
    if (name == kMetadata) fail(path, "a tensor cannot be named __metadata__");
    if (!tensor.defined()) fail(path, "tensor \"" + name + "\" is undefined");
    const auto* dtype = find_dtype(tensor.scalar_type());
    if (dtype == nullptr || tensor.layout() != at::kStrided) {
      fail(path,
           "tensor \"" + name + "\" cannot be represented: " + std::string(c10::toString(tensor.scalar_type())) + ", " + c10::str(tensor.layout()));
    }
    entries.push_back({name, dtype, tensor.detach()});
  }
  // Wide types first: with a header padded to 8 bytes every tensor lies at a multiple of its element size.
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.tensor.element_size() > b.tensor.element_size(); });
  return entries;
}

std::string header_of(const std::filesystem::path& path, const std::vector<Entry>& entries, const SafeTensors& content) {
  auto header = json::object();
  if (!content.metadata.empty()) header[kMetadata] = content.metadata;
  std::uint64_t offset = 0;
  for (const auto& entry : entries) {
    const auto end = offset + static_cast<std::uint64_t>(entry.tensor.numel()) * entry.tensor.element_size();
    header[entry.name] = {{"dtype", entry.dtype->name}, {"shape", entry.tensor.sizes().vec()}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const json::exception&) {
    fail(path, "a tensor's name or the metadata is not valid UTF-8");
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');
  if (text.size() > kHeaderBytesMax) fail(path, "the header would be " + std::to_string(text.size()) + " bytes; the format allows 100,000,000");
  return text;
}

// ---- reading

/// The header as JSON. Refuses what nlohmann lets pass: two entries of one name, endless nesting.
json parse_header(const std::filesystem::path& path, const std::string& text) {
  if (text.empty() || text.front() != '{') fail(path, "broken header: expected a JSON object");
  std::vector<std::set<std::string>> seen;
  std::string fault;
  const auto check = [&](int depth, json::parse_event_t event, json& parsed) {
    if (depth > kHeaderDepthMax) throw std::runtime_error("nested too deeply");
    if (event == json::parse_event_t::object_start) seen.emplace_back();
    if (event == json::parse_event_t::object_end) seen.pop_back();
    if (event == json::parse_event_t::key && !seen.back().insert(parsed.get_ref<const std::string&>()).second) {
      throw std::runtime_error("\"" + parsed.get<std::string>() + "\" twice");
    }
    return true;
  };
  try {
    return json::parse(text, check);
  } catch (const std::exception& e) {
    fault = e.what();
  }
  fail(path, "broken header: " + fault);
}

struct Described {
  std::string name;
  at::ScalarType type;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0, end = 0;
};

std::uint64_t read_unsigned(const std::filesystem::path& path, const std::string& name, const json& value) {
  if (!value.is_number_unsigned()) fail(path, "tensor \"" + name + "\": expected a whole number of 0 or more, found " + value.dump());
  return value.get<std::uint64_t>();
}

Described describe(const std::filesystem::path& path, const std::string& name, const json& entry) {
  const auto broken = [&](const std::string& why) { fail(path, "tensor \"" + name + "\": " + why); };
  if (!entry.is_object() || entry.size() != 3 || !entry.contains("dtype") || !entry.contains("shape") || !entry.contains("data_offsets")) {
    broken("expected an object of dtype, shape and data_offsets");
  }
  const auto& dtype_name = entry["dtype"];
  const auto& shape = entry["shape"];
  const auto& offsets = entry["data_offsets"];
  const auto* dtype = dtype_name.is_string() ? find_dtype(dtype_name.get_ref<const std::string&>()) : nullptr;
  if (dtype == nullptr) broken("unknown dtype " + dtype_name.dump(-1, ' ', true, json::error_handler_t::replace));
  if (!shape.is_array()) broken("shape is no array");
  if (!offsets.is_array() || offsets.size() != 2) broken("data_offsets is no pair");

  Described described{name, dtype->type, {}, read_unsigned(path, name, offsets[0]), read_unsigned(path, name, offsets[1])};
  constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  std::uint64_t bytes = c10::elementSize(dtype->type);
  bool empty = false;
  for (const auto& size : shape) {
    const auto n = read_unsigned(path, name, size);
    if (n > kMax || (n > 0 && bytes > kMax / n)) broken("the shape is too large");
    if (n == 0) empty = true;
    bytes *= std::max<std::uint64_t>(n, 1);  // so that sizes beside a zero cannot overflow unseen either
    described.shape.push_back(static_cast<std::int64_t>(n));
  }
  if (empty) bytes = 0;
  if (described.end < described.begin || described.end - described.begin != bytes) {
    broken("data_offsets " + offsets.dump() + " do not fit dtype and shape (" + std::to_string(bytes) + " bytes)");
  }
  return described;
}

void read_exactly(int fd, void* into, std::size_t size, std::uint64_t at, const std::filesystem::path& path) {
  auto* next = static_cast<char*>(into);
  while (size > 0) {
    const auto got = ::pread(fd, next, std::min<std::size_t>(size, 1u << 30), static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_errno(path, "could not read");
    if (got == 0) fail(path, "the file got shorter while it was read");
    next += got;
    at += static_cast<std::uint64_t>(got);
    size -= static_cast<std::size_t>(got);
  }
}

}  // namespace

void save_safetensors(const std::filesystem::path& path, const SafeTensors& content) {
  const auto entries = entries_of(path, content);
  const auto header = header_of(path, entries, content);
  const auto folder = path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
  auto beside = path;
  beside += ".tmp-" + std::to_string(::getpid());

  try {
    const Fd file(::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (file.get() < 0) fail_errno(path, "could not create");
    const std::uint64_t header_size = header.size();
    write_all(file.get(), &header_size, sizeof header_size, path);
    write_all(file.get(), header.data(), header.size(), path);
    for (const auto& entry : entries) {
      const auto bytes = entry.tensor.cpu().contiguous();
      write_all(file.get(), bytes.const_data_ptr(), bytes.nbytes(), path);
    }
    if (::fsync(file.get()) != 0) fail_errno(path, "could not write");
    if (::rename(beside.c_str(), path.c_str()) != 0) fail_errno(path, "could not rename into place");
  } catch (...) {
    ::unlink(beside.c_str());
    throw;
  }
  const Fd dir(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (dir.get() < 0 || ::fsync(dir.get()) != 0) fail_errno(path, "could not make the new file durable");
}

SafeTensors load_safetensors(const std::filesystem::path& path) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) fail_errno(path, "could not open");
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) fail_errno(path, "could not read");
  if (!S_ISREG(status.st_mode)) fail(path, "not a regular file");
  const auto file_size = static_cast<std::uint64_t>(status.st_size);

  std::uint64_t header_size = 0;
  if (file_size < sizeof header_size) fail(path, "too short for a safetensors file (" + std::to_string(file_size) + " bytes)");
  read_exactly(file.get(), &header_size, sizeof header_size, 0, path);
  if (header_size > kHeaderBytesMax)
    fail(path, "no safetensors file: it claims a header of " + std::to_string(header_size) + " bytes, over the format's 100,000,000");
  if (header_size > file_size - sizeof header_size) fail(path, "the file ends within its header");
  std::string text(header_size, '\0');
  read_exactly(file.get(), text.data(), text.size(), sizeof header_size, path);
  const auto header = parse_header(path, text);
  const auto data_at = sizeof header_size + header_size;

  SafeTensors content;
  std::vector<Described> tensors;
  for (const auto& [name, entry] : header.items()) {
    if (name != kMetadata) {
      tensors.push_back(describe(path, name, entry));
      continue;
    }
    if (!entry.is_object()) fail(path, "__metadata__ is no object");
    for (const auto& [key, value] : entry.items()) {
      if (!value.is_string()) fail(path, "__metadata__: \"" + key + "\" is no string");
      content.metadata.emplace(key, value.get<std::string>());
    }
  }
  // The data must be covered by the tensors, each byte once.
  std::sort(tensors.begin(), tensors.end(),
            [](const Described& a, const Described& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  std::uint64_t covered = 0;
  for (const auto& tensor : tensors) {
    if (tensor.begin != covered) {
      fail(path, "tensor \"" + tensor.name + "\" begins at byte " + std::to_string(tensor.begin) + " of the data, expected " +
                     std::to_string(covered) + (tensor.begin < covered ? " (it overlaps the one before)" : " (a hole)"));
    }
    covered = tensor.end;
  }
  if (covered != file_size - data_at) {
    fail(path, "the tensors take " + std::to_string(covered) + " bytes, the file has " + std::to_string(file_size - data_at) +
                   (covered > file_size - data_at ? " (it ends too early)" : ""));
  }

  for (const auto& described : tensors) {
    auto tensor = at::empty(described.shape, described.type);
    read_exactly(file.get(), tensor.mutable_data_ptr(), tensor.nbytes(), data_at + described.begin, path);
    if (described.type == at::kBool) {
      const auto* bytes = static_cast<const std::uint8_t*>(tensor.const_data_ptr());
      if (std::any_of(bytes, bytes + tensor.nbytes(), [](std::uint8_t byte) { return byte > 1; })) {
        fail(path, "tensor \"" + described.name + "\": a BOOL that is neither 0 nor 1");
      }
    }
    content.tensors.emplace(described.name, std::move(tensor));
  }
  return content;
}

}  // namespace rtrain
