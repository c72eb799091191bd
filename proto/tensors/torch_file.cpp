#include "proto/tensors/torch_file.h"

#include "common/base/clip.h"

#include <algorithm>

namespace rtrain::tensors {
namespace {

constexpr std::string_view kZipBegin = "PK\x03\x04";
constexpr std::string_view kSaveHint =
    "in Python: torch.save(torch.load(PATH, weights_only=True), NEW) writes the format of PyTorch 1.6 and "
    "later";

/// The folder within the archive: "archive/data.pkl" -> "archive/".
Result<std::string> root_of(const ZipFile& zip, const std::string& path) {
  constexpr std::string_view kPickle = "/data.pkl";
  for (const auto& member : zip.members()) {
    if (!member.name.ends_with(kPickle)) continue;
    const auto root = member.name.substr(0, member.name.size() - kPickle.size());
    if (root.find('/') == std::string::npos) return root + "/";
  }
  return fail(Errc::kIo, path + ": a zip archive without a data.pkl: torch.save did not write it");
}

Result<Done> check_parts(const ZipFile& zip, const std::string& root, const std::string& path) {
  if (zip.find(root + "constants.pkl") != nullptr)
    return fail(Errc::kIo, path + ": a TorchScript program, not a checkpoint",
                "in Python: torch.save(torch.jit.load(PATH).state_dict(), NEW)");
  if (zip.find(root + "version") == nullptr)
    return fail(Errc::kIo, path + ": the archive has no member \"version\"");
  if (const auto* order = zip.find(root + "byteorder")) {
    auto text = zip.text(*order, 16);
    if (!text) return text.error();
    if (*text != "little")
      return fail(Errc::kIo,
                  path + ": its numbers are " + clipped(*text, 16) + "-endian; little-endian ones are read");
  }
  return ok();
}

Result<Tensor> place(const PickledTensor& pickled, const ZipFile& zip, const std::string& root) {
  const auto damaged = [&](const std::string& why) {
    return fail(Errc::kIo, zip.file()->path() + ": storage \"" + clipped(pickled.storage, 64) + "\" " + why);
  };
  const auto* member = zip.find(root + "data/" + pickled.storage);
  if (member == nullptr) return damaged("is not in the archive");
  if (member->size != pickled.storage_bytes)
    return damaged("has " + std::to_string(member->size) + " bytes, its tensors expect " +
                   std::to_string(pickled.storage_bytes));
  auto at = zip.data_at(*member);
  if (!at) return at.error();
  Tensor tensor{"",         pickled.dtype, pickled.shape, pickled.strides,
                zip.file(), *at,           member->size,  pickled.offset};
  if (auto fault = fault_of(tensor); !fault.empty()) return damaged("does not fit a tensor: " + fault);
  return tensor;
}

}  // namespace

bool looks_like_torch_file(const os::OpenFile& file) {
  const auto begin = file.text(0, std::min<std::uint64_t>(file.size(), kZipBegin.size()));
  return begin && *begin == kZipBegin;
}

Result<TorchFile> open_torch_file(const std::string& path) {
  auto file = os::OpenFile::open(path);
  if (!file) return file.error();
  if (!looks_like_torch_file(**file)) {
    const auto begin = (*file)->text(0, std::min<std::uint64_t>((*file)->size(), 2));
    if (begin && begin->starts_with('\x80'))
      return fail(Errc::kIo, path + ": a bare pickle, as PyTorch before 1.6 wrote, is not read",
                  std::string(kSaveHint));
    return fail(Errc::kIo, path + ": no zip archive: torch.save did not write it, or it was cut");
  }
  auto zip = ZipFile::open(*file);
  if (!zip) return zip.error();
  const auto root = root_of(*zip, path);
  if (!root) return root.error();
  if (auto checked = check_parts(*zip, *root, path); !checked) return checked.error();
  auto text = zip->text(*zip->find(*root + "data.pkl"), kPickleBytesMax);
  if (!text) return text.error();
  auto pickle = unpickle(*text);
  if (!pickle) return pickle.error().in(path);
  TorchFile opened{std::move(*zip), std::move(*pickle), {}};
  for (const auto& pickled : opened.pickle.tensors) {
    auto tensor = place(pickled, opened.zip, *root);
    if (!tensor) return tensor.error();
    opened.tensors.push_back(std::move(*tensor));
  }
  return opened;
}

Result<Done> write_torch_file(const std::string& path, const std::vector<Tensor>& tensors) {
  std::vector<StateEntry> entries;
  for (const auto& tensor : tensors) entries.push_back({tensor.name, tensor.dtype, tensor.shape});
  auto zip = ZipWriter::create(path);
  if (!zip) return zip.error();
  const std::pair<const char*, std::string> texts[] = {{"archive/data.pkl", pickle_state_dict(entries)},
                                                       {"archive/byteorder", "little"}};
  for (const auto& [name, text] : texts)
    if (auto done = zip->add(name, text); !done) return done;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (auto done = zip->begin("archive/data/" + std::to_string(i), tensors[i].bytes()); !done) return done;
    TensorReader reader(tensors[i]);
    for (;;) {
      auto piece = reader.next();
      if (!piece) return piece.error();
      if (piece->empty()) break;
      if (auto done = zip->write(*piece); !done) return done;
    }
    if (auto done = zip->end(); !done) return done;
  }
  if (auto done = zip->add("archive/version", "3\n"); !done) return done;
  return zip->finish();
}

}  // namespace rtrain::tensors
