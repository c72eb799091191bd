// What a pickle of a checkpoint may name and call, and what comes of it.
#pragma once

#include "proto/tensors/pickle.h"

#include <string>

namespace rtrain::tensors {

/// Ends the reading of a pickle: one sentence.
struct PickleRefusal {
  std::string why;
};
[[noreturn]] void refuse_pickle(std::string why);

/// Makes the values of a pickle.
class ValueMaker {
 public:
  Pickle made;

  std::uint32_t add(Value value);
  std::uint32_t add(ValueKind kind) { return add(Value{.kind = kind}); }
  std::uint32_t add_text(ValueKind kind, std::string_view text);
  std::uint32_t add_items(ValueKind kind, std::vector<std::uint32_t> items);
  std::uint32_t add_integer(ValueKind kind, std::int64_t integer);
  [[nodiscard]] Value& at(std::uint32_t index) { return made.values[index]; }

  /// "collections", "OrderedDict". Refused unless it is on the list.
  std::uint32_t name(std::string_view module, std::string_view name);
  /// A name called with a tuple. Nothing runs: each name has its meaning here.
  std::uint32_t call(std::uint32_t callable, std::uint32_t arguments);
  /// ("storage", torch.FloatStorage, "0", "cpu", 6): the numbers of tensors, in a member of the archive.
  std::uint32_t storage(std::uint32_t id);
  /// The attributes of an object, which only an OrderedDict may have here; they are dropped.
  void set_state(std::uint32_t object);

 private:
  struct Storage {
    const Dtype* dtype;  ///< null: untyped
    std::string key;
    std::uint64_t bytes;
  };

  std::uint32_t rebuild_tensor(const std::vector<std::uint32_t>& arguments, bool untyped);
  std::uint32_t latin1_bytes(const std::vector<std::uint32_t>& arguments);
  std::uint32_t device(const std::vector<std::uint32_t>& arguments);
  /// Counts what is copied from a value that may be there only once: in all no more than a pickle can hold.
  void spend(std::size_t bytes);
  std::vector<std::int64_t> integers(std::uint32_t tuple);
  std::int64_t integer(std::uint32_t index);

  std::vector<Storage> storages_;
  std::size_t spent_ = 0;
};

}  // namespace rtrain::tensors
