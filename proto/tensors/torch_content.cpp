// From the values of a pickle to named tensors and JSON.
#include "common/base/clip.h"
#include "proto/tensors/torch_file.h"

#include <set>

namespace rtrain::tensors {
namespace {

using proto::Json;

constexpr std::size_t kNameBytesMax = 4096, kNamesBytesMax = 256u << 20;
constexpr std::size_t kUnplainListed = 100;

struct Failure {
  std::string why;
  Errc code = Errc::kIo;
};

std::string hexadecimal(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const char byte : bytes)
    text += {kDigits[static_cast<unsigned char>(byte) >> 4], kDigits[static_cast<unsigned char>(byte) & 15]};
  return text;
}

class Reader {
 public:
  Reader(const TorchFile& file, TorchContent& content) : file_(file), content_(content) {}

  void run(std::string_view wanted) {
    const auto& root = file_.pickle.at(file_.pickle.root);
    if (!wanted.empty()) return take_wanted(root, wanted);
    if (root.kind == ValueKind::kTensor) {
      path_ = "tensor";
      add_tensor(root, content_.weights);
      return;
    }
    if (root.kind != ValueKind::kDict) {
      content_.plain = to_json(root);
      return;
    }
    const Value* weights = &root;
    for (const char* key : {"state_dict", "model_state_dict", "model"}) {
      const auto* found = file_.pickle.find(root, key);
      if (found == nullptr || !holds_tensors(*found)) continue;
      weights = found;
      content_.weights_key = key;
      break;
    }
    if (weights == &root) {
      content_.plain = take_weights(root);
      return;
    }
    take(root, *weights);
  }

 private:
  void take_wanted(const Value& root, std::string_view wanted) {
    const auto* found = at_path(root, wanted, kPickleDepthMax);
    if (found == nullptr || !holds_tensors(*found)) {
      std::string known;
      for (std::size_t i = 0; root.kind == ValueKind::kDict && i < root.items.size(); i += 2) {
        const auto& key = file_.pickle.at(root.items[i]);
        if (key.kind == ValueKind::kText && holds_tensors(file_.pickle.at(root.items[i + 1])))
          known += (known.empty() ? "" : ", ") + clipped(key.text, 50);
        if (known.size() > 500) break;
      }
      throw Failure{"has no dict with tensors under \"" + clipped(wanted, 100) + "\"; " +
                        (known.empty() ? "no key of its root has one" : "these have one: " + known),
                    Errc::kInvalidArgument};
    }
    content_.weights_key = wanted;
    take(root, *found);
  }

  /// All of the root but the weights, then the weights under names of their own.
  void take(const Value& root, const Value& weights) {
    content_.plain = to_json(root, &weights);
    if (auto left = take_weights(weights); !left.empty())
      content_.plain[content_.weights_key] = std::move(left);
  }

  /// "a.b.c": the key itself, or "b.c" in what "a" has, or "c" in what "a.b" has. Each step removes a key,
  /// and containers are at most `depth` deep.
  const Value* at_path(const Value& dict, std::string_view path, std::uint32_t depth) const {
    if (const auto* found = file_.pickle.find(dict, path); found != nullptr || depth == 0) return found;
    for (auto dot = path.find('.'); dot != std::string_view::npos; dot = path.find('.', dot + 1))
      if (const auto* inner = file_.pickle.find(dict, path.substr(0, dot)))
        if (const auto* found = at_path(*inner, path.substr(dot + 1), depth - 1)) return found;
    return nullptr;
  }

  bool holds_tensors(const Value& value) const {
    if (value.kind != ValueKind::kDict) return false;
    for (std::size_t i = 1; i < value.items.size(); i += 2)
      if (file_.pickle.at(value.items[i]).kind == ValueKind::kTensor) return true;
    return false;
  }

  /// What the dict holds beside its tensors.
  Json take_weights(const Value& dict) {
    Json left = Json::object();
    path_.clear();
    each(dict, [&](const std::string& key, const Value& value) {
      if (value.kind == ValueKind::kTensor)
        add_tensor(value, content_.weights);
      else
        put(left, key, to_json(value));
    });
    return left;
  }

  /// Calls back for each item of a dict, with path_ at the item.
  template <class Callback>
  void each(const Value& dict, const Callback& callback) {
    const auto size = path_.size();
    for (std::size_t i = 0; i < dict.items.size(); i += 2) {
      const auto& key = file_.pickle.at(dict.items[i]);
      const auto text = key.kind == ValueKind::kText  ? key.text
                        : key.kind == ValueKind::kInt ? std::to_string(key.integer)
                                                      : "key " + std::to_string(i / 2);
      step_into(text);
      if (key.kind != ValueKind::kText && key.kind != ValueKind::kInt)
        note("has a key that is no text or whole number");
      callback(text, file_.pickle.at(dict.items[i + 1]));
      path_.resize(size);
    }
  }

  void step_into(std::string_view part) {
    if (path_.size() + part.size() >= kNameBytesMax)
      throw Failure{"a name is longer than " + std::to_string(kNameBytesMax) + " bytes: \"" +
                    clipped(part, 50) + "\""};
    if (!path_.empty()) path_ += '.';
    path_ += part;
  }

  static void put(Json& object, const std::string& key, Json value) {
    if (object.contains(key)) throw Failure{"two keys of a dict read alike: \"" + clipped(key, 100) + "\""};
    object[key] = std::move(value);
  }

  void add_tensor(const Value& value, std::vector<Tensor>& to) {
    names_bytes_ += path_.size();
    if (names_bytes_ > kNamesBytesMax) throw Failure{"the names of its tensors take too many bytes"};
    auto& tensor = to.emplace_back(file_.tensors[static_cast<std::size_t>(value.integer)]);
    tensor.name = path_;
    if (!names_.insert({&to, path_}).second)
      throw Failure{"two tensors are named \"" + clipped(path_, 100) + "\""};
  }

  void note(const std::string& what) {
    if (content_.unplain.size() < kUnplainListed)
      content_.unplain.push_back(clipped(path_, 200) + " " + what);
    else
      ++content_.unplain_more;
  }

  Json list(const Value& value) {
    Json made = Json::array();
    const auto size = path_.size();
    for (std::size_t i = 0; i < value.items.size(); ++i) {
      step_into(std::to_string(i));
      made.push_back(to_json(file_.pickle.at(value.items[i])));
      path_.resize(size);
    }
    return made;
  }

  /// `but`: a value that is left out of its dict, at any depth of dicts.
  Json to_json(const Value& value, const Value* but = nullptr) {
    switch (value.kind) {
      case ValueKind::kNone: return nullptr;
      case ValueKind::kBool: return value.integer != 0;
      case ValueKind::kInt: return value.integer;
      case ValueKind::kFloat: return value.real;
      case ValueKind::kText: return value.text;
      case ValueKind::kDtype: return "torch." + value.text;
      case ValueKind::kDevice: return value.text;
      case ValueKind::kBigInt: note("is a whole number of more than 64 bits"); return value.text;
      case ValueKind::kBytes: note("is bytes"); return {{"$bytes", hexadecimal(value.text)}};
      case ValueKind::kTensor: add_tensor(value, content_.rest); return {{"$tensor", path_}};
      case ValueKind::kSet: note("is a set"); return list(value);
      case ValueKind::kList:
      case ValueKind::kTuple: return list(value);
      case ValueKind::kDict: {
        Json made = Json::object();
        each(value, [&](const std::string& key, const Value& item) {
          if (&item != but) put(made, key, to_json(item, but));
        });
        return made;
      }
      case ValueKind::kName:
      case ValueKind::kStorage: break;
    }
    return nullptr;
  }

  const TorchFile& file_;
  TorchContent& content_;
  std::string path_;
  std::set<std::pair<const void*, std::string>> names_;
  std::size_t names_bytes_ = 0;
};

}  // namespace

Result<TorchContent> content_of(const TorchFile& file, std::string_view key) {
  TorchContent content;
  try {
    Reader(file, content).run(key);
  } catch (const Failure& failure) {
    return fail(failure.code, file.zip.file()->path() + ": " + failure.why);
  }
  return content;
}

}  // namespace rtrain::tensors
