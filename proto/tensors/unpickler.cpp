// The machine that a pickle is a program for: a stack, marks and a memo.
#include "proto/tensors/little_endian.h"
#include "proto/tensors/pickle_check.h"
#include "proto/tensors/pickle_names.h"

#include <bit>
#include <limits>
#include <unordered_map>

namespace rtrain::tensors {
namespace {

[[noreturn]] void refuse(std::string why) { throw PickleRefusal{std::move(why)}; }

class Unpickler {
 public:
  explicit Unpickler(std::string_view text) : text_(text) {
    none_ = make_.add(ValueKind::kNone);
    false_ = make_.add_integer(ValueKind::kBool, 0);
    true_ = make_.add_integer(ValueKind::kBool, 1);
    empty_tuple_ = make_.add(ValueKind::kTuple);
  }

  Pickle run() {
    while (!stopped_) step(take_number<std::uint8_t>());
    if (stack_.size() != 1 || !marks_.empty()) refuse("the pickle does not end with one value");
    make_.made.root = stack_.back();
    return std::move(make_.made);
  }

 private:
  // ---- the text

  std::string_view take(std::uint64_t bytes) {
    if (bytes > text_.size() - at_) refuse("the pickle ends within a value");
    const auto taken = text_.substr(at_, bytes);
    at_ += bytes;
    return taken;
  }

  template <class T>
  T take_number() {
    return number_at<T>(take(sizeof(T)), 0);
  }

  template <class Length>
  std::string_view take_sized() {
    return take(take_number<Length>());
  }

  std::string_view take_line() {
    const auto end = text_.find('\n', at_);
    if (end == std::string_view::npos) refuse("the pickle ends within a name");
    const auto line = text_.substr(at_, end - at_);
    at_ = end + 1;
    return line;
  }

  // ---- the stack

  void push(std::uint32_t value) { stack_.push_back(value); }

  /// Nothing below the last mark can be taken but by what takes the mark.
  std::uint32_t pop() {
    if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) refuse("the pickle takes from an empty stack");
    const auto value = stack_.back();
    stack_.pop_back();
    return value;
  }

  std::uint32_t top() {
    const auto value = pop();
    push(value);
    return value;
  }

  std::vector<std::uint32_t> pop_to_mark() {
    if (marks_.empty()) refuse("the pickle takes a mark that it has not set");
    const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    marks_.pop_back();
    std::vector<std::uint32_t> items(begin, stack_.end());
    stack_.erase(begin, stack_.end());
    return items;
  }

  std::vector<std::uint32_t> pop_items(int count) {
    std::vector<std::uint32_t> items(static_cast<std::size_t>(count));
    for (auto at = items.rbegin(); at != items.rend(); ++at) *at = pop();
    return items;
  }

  /// Puts the items into the container on the top of the stack.
  void extend(std::vector<std::uint32_t> items, ValueKind kind) {
    auto& value = make_.at(top());
    if (value.kind != kind || (kind == ValueKind::kDict && items.size() % 2 != 0))
      refuse("the pickle puts items into what cannot hold them");
    value.items.insert(value.items.end(), items.begin(), items.end());
  }

  void remember(std::uint32_t key) { memo_[key] = top(); }

  void recall(std::uint32_t key) {
    const auto found = memo_.find(key);
    if (found == memo_.end()) refuse("the pickle recalls a value that it has not kept");
    push(found->second);
  }

  void push_long(std::string_view bytes) {
    if (bytes.size() > 8) {
      constexpr std::string_view kDigits = "0123456789abcdef";
      std::string hex = "0x";
      for (auto at = bytes.rbegin(); at != bytes.rend(); ++at)
        hex += {kDigits[static_cast<unsigned char>(*at) >> 4], kDigits[static_cast<unsigned char>(*at) & 15]};
      return push(make_.add_text(ValueKind::kBigInt, hex));
    }
    std::uint64_t value = !bytes.empty() && (bytes.back() & 0x80) != 0 ? ~std::uint64_t{0} : 0;
    for (auto at = bytes.rbegin(); at != bytes.rend(); ++at)
      value = value << 8 | static_cast<unsigned char>(*at);
    push(make_.add_integer(ValueKind::kInt, static_cast<std::int64_t>(value)));
  }

  void push_float() {  // the one number that is big-endian
    std::uint64_t bits = 0;
    for (const char byte : take(8)) bits = bits << 8 | static_cast<unsigned char>(byte);
    Value value{.kind = ValueKind::kFloat};
    value.real = std::bit_cast<double>(bits);
    push(make_.add(std::move(value)));
  }

  void push_named(std::uint32_t module, std::uint32_t name) {
    if (make_.at(module).kind != ValueKind::kText || make_.at(name).kind != ValueKind::kText)
      refuse("the pickle names something by what is no text");
    push(make_.name(make_.at(module).text, make_.at(name).text));
  }

  void push_call() {
    const auto arguments = pop(), callable = pop();
    push(make_.call(callable, arguments));
  }

  void step(std::uint8_t opcode);
  bool step_text(std::uint8_t opcode);
  bool step_container(std::uint8_t opcode);

  std::string_view text_;
  std::size_t at_ = 0;
  ValueMaker make_;
  std::vector<std::uint32_t> stack_;
  std::vector<std::size_t> marks_;  // sizes of the stack
  std::unordered_map<std::uint32_t, std::uint32_t> memo_;
  std::uint32_t none_, false_, true_, empty_tuple_;
  bool stopped_ = false;
};

/// The letters are those of Python's pickle module.
void Unpickler::step(std::uint8_t opcode) {
  if (step_text(opcode) || step_container(opcode)) return;
  switch (opcode) {
    case 0x80:  // PROTO
      if (take_number<std::uint8_t>() > 5) refuse("the pickle has a protocol that is newer than 5");
      return;
    case 0x95: take(8); return;  // FRAME: how much follows
    case '.': stopped_ = true; return;
    case 'N': return push(none_);
    case 0x88: return push(true_);
    case 0x89: return push(false_);
    case 'K': return push(make_.add_integer(ValueKind::kInt, take_number<std::uint8_t>()));
    case 'M': return push(make_.add_integer(ValueKind::kInt, take_number<std::uint16_t>()));
    case 'J':
      return push(
          make_.add_integer(ValueKind::kInt, static_cast<std::int32_t>(take_number<std::uint32_t>())));
    case 0x8A: return push_long(take_sized<std::uint8_t>());
    case 0x8B: return push_long(take_sized<std::uint32_t>());
    case 'G': return push_float();
    case 'q': return remember(take_number<std::uint8_t>());
    case 'r': return remember(take_number<std::uint32_t>());
    case 0x94: return remember(static_cast<std::uint32_t>(memo_.size()));
    case 'h': return recall(take_number<std::uint8_t>());
    case 'j': return recall(take_number<std::uint32_t>());
    case 'c': {
      const auto module = take_line();
      return push(make_.name(module, take_line()));
    }
    case 0x93: {
      const auto name = pop(), module = pop();
      return push_named(module, name);
    }
    case 'R':
    case 0x81: return push_call();
    case 'b': pop(); return make_.set_state(top());
    case 'Q': return push(make_.storage(pop()));
    case '0': pop(); return;
    case '1': pop_to_mark(); return;
    case '2': return push(top());
    default: refuse("the pickle has an opcode that checkpoints have not, " + std::to_string(opcode));
  }
}

bool Unpickler::step_text(std::uint8_t opcode) {
  const auto put = [&](ValueKind kind, std::string_view text) {
    push(make_.add_text(kind, text));
    return true;
  };
  switch (opcode) {
    case 'X': return put(ValueKind::kText, take_sized<std::uint32_t>());
    case 0x8C: return put(ValueKind::kText, take_sized<std::uint8_t>());
    case 0x8D: return put(ValueKind::kText, take_sized<std::uint64_t>());
    case 'U': return put(ValueKind::kText, take_sized<std::uint8_t>());  // of Python 2
    case 'T': return put(ValueKind::kText, take_sized<std::uint32_t>());
    case 'B': return put(ValueKind::kBytes, take_sized<std::uint32_t>());
    case 'C': return put(ValueKind::kBytes, take_sized<std::uint8_t>());
    case 0x8E:
    case 0x96: return put(ValueKind::kBytes, take_sized<std::uint64_t>());
    default: return false;
  }
}

bool Unpickler::step_container(std::uint8_t opcode) {
  const auto put = [&](ValueKind kind, std::vector<std::uint32_t> items) {
    if (kind == ValueKind::kDict && items.size() % 2 != 0)
      refuse("the pickle has a dict with a key too many");
    push(make_.add_items(kind, std::move(items)));
    return true;
  };
  const auto add = [&](std::vector<std::uint32_t> items, ValueKind kind) {
    extend(std::move(items), kind);
    return true;
  };
  switch (opcode) {
    case '(': marks_.push_back(stack_.size()); return true;
    case ')': push(empty_tuple_); return true;
    case ']': return put(ValueKind::kList, {});
    case '}': return put(ValueKind::kDict, {});
    case 0x8F: return put(ValueKind::kSet, {});
    case 't': return put(ValueKind::kTuple, pop_to_mark());
    case 0x85: return put(ValueKind::kTuple, pop_items(1));
    case 0x86: return put(ValueKind::kTuple, pop_items(2));
    case 0x87: return put(ValueKind::kTuple, pop_items(3));
    case 'l': return put(ValueKind::kList, pop_to_mark());
    case 'd': return put(ValueKind::kDict, pop_to_mark());
    case 0x91: return put(ValueKind::kSet, pop_to_mark());
    case 'a': return add(pop_items(1), ValueKind::kList);
    case 'e': return add(pop_to_mark(), ValueKind::kList);
    case 's': return add(pop_items(2), ValueKind::kDict);
    case 'u': return add(pop_to_mark(), ValueKind::kDict);
    case 0x90: return add(pop_to_mark(), ValueKind::kSet);
    default: return false;
  }
}

}  // namespace

Result<Pickle> unpickle(std::string_view text) {
  if (text.size() > kPickleBytesMax)
    return fail(Errc::kIo, "the pickle has " + std::to_string(text.size()) + " bytes; at most " +
                               std::to_string(kPickleBytesMax) + " are read");
  try {
    auto pickle = Unpickler(text).run();
    check_pickle(pickle);
    return pickle;
  } catch (const PickleRefusal& refusal) {
    return fail(
        Errc::kIo, refusal.why,
        "tensors, dicts, lists, tuples, sets, texts and numbers are read: in Python, save what is needed "
        "as torch.save(model.state_dict(), PATH)");
  }
}

const Value* Pickle::find(const Value& dict, std::string_view key) const {
  if (dict.kind != ValueKind::kDict) return nullptr;
  for (std::size_t i = 0; i < dict.items.size(); i += 2)
    if (at(dict.items[i]).kind == ValueKind::kText && at(dict.items[i]).text == key)
      return &at(dict.items[i + 1]);
  return nullptr;
}

}  // namespace rtrain::tensors
