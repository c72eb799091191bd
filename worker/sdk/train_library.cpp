#include "worker/sdk/train_library.h"

#include "common/os/elf.h"
#include "worker/runtime/crash_handler.h"

#include <dlfcn.h>

#include <algorithm>
#include <fstream>
#include <vector>

#ifdef RTRAIN_VERSION
static_assert(std::string_view(RTRAIN_VERSION) == RTRAIN_SDK_VERSION,
              "rtrain/version.h and the project's version differ");
#endif

namespace rtrain::sdk {
namespace {

constexpr std::string_view kTagBegin = "rtrain-abi: ";

struct Entry {
  std::string tag, name;
  rtrain_train_function function;
};

std::vector<Entry>& entries() {
  static auto* all = new std::vector<Entry>;  // libraries register before main() and may be asked after it
  return *all;
}

std::string versions_of(std::string_view tag) {
  return std::string(tag.starts_with(kTagBegin) ? tag.substr(kTagBegin.size()) : tag);
}

constexpr std::size_t kTagBytesMax = 300;

/// Before the loader maps it: what is missing at its end would be a signal there, without a word.
void check_file(const std::string& library) {
  const auto file = os::read_elf(library);
  if (!file && file.error().code() == Errc::kIo)
    throw LoadError("cannot open the training library " +
                    file.error().message().substr(std::string_view("open ").size()));
  if (!file) throw LoadError("the training library " + file.error().message());
  if (const auto damage = os::why_damaged(library); !damage.empty())
    throw LoadError("the training library " + damage + "; was it copied completely?");
  if (file->machine != os::own_machine())
    throw LoadError("the training library " + library + " is for " + file->machine + "; this node is " +
                    os::own_machine());
}

/// As foreign_tag_in() of the file's bytes, read piece by piece and not mapped: a file that becomes shorter
/// meanwhile must be no signal.
std::optional<std::string> foreign_tag_of(const std::string& library) {
  std::ifstream file(library, std::ios::binary);
  std::string bytes;
  std::vector<char> piece(1u << 20);
  while (file) {
    file.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    bytes.append(piece.data(), static_cast<std::size_t>(file.gcount()));
    // A tag at the end may go on in the next piece.
    const auto tail = bytes.size() - std::min(bytes.size(), kTagBytesMax);
    const auto last = file ? bytes.rfind(kTagBegin) : std::string::npos;
    const auto whole = last != std::string::npos && last >= tail ? last : bytes.size();
    if (auto foreign = foreign_tag_in(std::string_view(bytes).substr(0, whole))) return foreign;
    bytes.erase(0, std::min(tail, whole));
  }
  return std::nullopt;
}

std::string list_of(const std::vector<Entry>& found) {
  std::string list;
  for (const auto& entry : found) list += (list.empty() ? "" : ", ") + entry.name;
  return list;
}

}  // namespace

std::optional<std::string> abi_mismatch(std::string_view library_tag) {
  if (library_tag == RTRAIN_ABI_TAG) return std::nullopt;
  return "was built with " + versions_of(library_tag) + "; this worker is " + versions_of(RTRAIN_ABI_TAG) +
         ". Build it again with this rtrain";
}

std::optional<std::string> foreign_tag_in(std::string_view bytes) {
  for (auto at = bytes.find(kTagBegin); at != std::string_view::npos; at = bytes.find(kTagBegin, at + 1)) {
    const auto tag = bytes.substr(at, std::min<std::size_t>(bytes.find('\0', at), at + kTagBytesMax) - at);
    if (tag != RTRAIN_ABI_TAG && tag.size() > kTagBegin.size()) return std::string(tag);
  }
  return std::nullopt;
}

TrainFunction load_train_function(const std::string& library, const std::string& name) {
  runtime::note_training_library(library);
  // Before any of its code runs: constructors of a library built against other headers may do anything.
  if (const auto foreign = foreign_tag_of(library))
    throw LoadError("the training library " + library + " " + *abi_mismatch(*foreign));
  check_file(library);

  const auto known = entries().size();
  if (::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL) == nullptr)
    throw LoadError("cannot load the training library: " + std::string(::dlerror()));
  const std::vector<Entry> found(entries().begin() + static_cast<std::ptrdiff_t>(known), entries().end());
  for (const auto& entry : found)
    if (const auto mismatch = abi_mismatch(entry.tag))
      throw LoadError("the training library " + library + " " + *mismatch);

  if (found.empty())
    throw LoadError(library +
                    " offers no training function: add RTRAIN_TRAIN_FUNCTION(your_function); to it");
  if (name.empty() && found.size() > 1)
    throw LoadError(library + " offers several training functions (" + list_of(found) +
                    "): name one in train_func.name");
  for (const auto& entry : found) {
    if (!name.empty() && entry.name != name) continue;
    return [function = entry.function](const Config& config) {
      nlohmann::json return_value;
      function(&config, &return_value);
      return return_value;
    };
  }
  throw LoadError(library + " offers no training function \"" + name + "\"; it offers: " + list_of(found));
}

}  // namespace rtrain::sdk

extern "C" void rtrain_register_train_function(const char* abi_tag, const char* name,
                                               rtrain_train_function function) {
  rtrain::sdk::entries().push_back({abi_tag, name, function});
}
