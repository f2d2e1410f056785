-- Finds the model of a JSON request inside Envoy, so that its body need not travel to the gateway plugin: the name goes into a header, and the
-- plugin asks for the body only where there is none.
--
-- What it finds is exact for every body that is JSON: the last top-level "model", as JSON parsers have it. Wherever it is in doubt it finds
-- nothing, and the plugin looks itself: escapes in a top-level key or in the name, a model that is no string, compressed bodies, forms. It
-- does not prove that a body is JSON, and looks at the end alone where that has the model; what is no JSON, the engine refuses as a whole.

local HEADER = "x-gateway-model-peek"
-- The plugin's limit for JSON bodies, which only it can answer in words
local MAX_BODY_BYTES = 16 * 1024 * 1024
local MAX_NAME_BYTES = 256
-- Looks at quotes and brackets, after which the plugin may go on: one request holds up no other on this thread for more than some 20 ms
local MAX_LOOKS = 500000
-- The plugin's own list of paths with JSON bodies; for others nothing is read before the plugin has refused them or asked for the body
local PATHS = {}
for _, path in ipairs({
  "/v1/completions", "/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/embeddings", "/v1/rerank", "/v1/score", "/v1/classify",
  "/tokenize", "/detokenize",
}) do PATHS[path] = true end

-- What is looked at in one piece
local PIECE_BYTES = 64 * 1024
-- How much of a longer body's end is looked at first: clients write the messages before the model
local TAIL_BYTES = { 2 * 1024, 32 * 1024 }

local byte, find, match, min, reverse, sub = string.byte, string.find, string.match, math.min, string.reverse, string.sub

local SPACE = {}
for _, character in ipairs({ " ", "\t", "\n", "\r" }) do SPACE[byte(character)] = true end

-- Bytes outside of strings that have no part in the structure: white space, and those of numbers, true, false and null
local PLAIN = {}
for _, character in ipairs({ " ", "\t", "\n", "\r", "+", "-", ".", "E" }) do PLAIN[byte(character)] = true end
for digit = byte("0"), byte("9") do PLAIN[digit] = true end
for character in string.gmatch("truefalsn", ".") do PLAIN[byte(character)] = true end

local QUOTE, COMMA, COLON, BACKSLASH = byte('"'), byte(","), byte(":"), byte("\\")
-- The depth before the outer object and after it
local START, END = 0, -1
local OPEN_OBJECT, CLOSE_OBJECT, OPEN_ARRAY, CLOSE_ARRAY = byte("{"), byte("}"), byte("["), byte("]")

-- Where the string ends that begins at `from`: the first quote with an even number of backslashes before it. Also how many quotes it looked at
local function closing_quote(text, from)
  local at = from
  for looks = 1, MAX_LOOKS do
    at = find(text, '"', at + 1, true)
    if at == nil then return nil, looks end
    local before = at - 1
    while byte(text, before) == BACKSLASH do before = before - 1 end
    if (at - before) % 2 == 1 then return at, looks end
  end
  return nil, MAX_LOOKS
end

-- Finds the bytes that matter inside of a nested value, which may be a long list of numbers: quotes and brackets. Of each it remembers where
-- the next one is, so that the text is searched once for each kind.
local NESTED = { '"', "[", "]", "{", "}" }

local function nearest(text, from, ahead)
  local least = #text + 1
  for kind = 1, #NESTED do
    local at = ahead[kind]
    if at < from then
      at = find(text, NESTED[kind], from, true) or #text + 1
      ahead[kind] = at
    end
    if at < least then least = at end
  end
  return least
end

-- How many backslashes stand from here on
local function backslashes(text, from)
  local at = from
  while byte(text, at) == BACKSLASH do at = at + 1 end
  return at - from
end

-- Where the string begins whose last quote is at `at` of a text that is written backwards: the next quote that no backslash escapes
local function opening_quote(reversed, at)
  if backslashes(reversed, at + 1) % 2 == 1 then return nil end
  while true do
    at = find(reversed, '"', at + 1, true)
    if at == nil then return nil end
    local before = backslashes(reversed, at + 1)
    -- The text may begin amid them
    if at + before == #reversed then return nil end
    if before == 0 then return at end
    -- Outside of strings none can stand
    if before % 2 == 0 then return nil end
    at = at + before
  end
end

-- Where the object or array begins whose last bracket is at `at` of a text that is written backwards
local function opening_bracket(reversed, at, ahead)
  local depth = 0
  while true do
    local c = byte(reversed, at)
    if c == QUOTE then
      at = opening_quote(reversed, at)
    elseif c == CLOSE_OBJECT or c == CLOSE_ARRAY then
      depth = depth + 1
    elseif c == OPEN_OBJECT or c == OPEN_ARRAY then
      depth = depth - 1
      if depth == 0 then return at end
    else
      return nil
    end
    if at == nil then return nil end
    at = nearest(reversed, at + 1, ahead)
  end
end

-- Reads an object from its end: the first top-level "model" that is met is the last one. The end of a JSON text is outside of strings, and
-- every quote without an odd number of backslashes before it ends a string or begins one, so that backwards the members are as plain as
-- forwards. All that is looked at has to be as JSON has it. What it does not find, find_model looks for.
local function find_model_in(tail)
  local reversed = reverse(tail)
  local ahead = { 0, 0, 0, 0, 0 }
  local at = match(reversed, "^[ \t\n\r]*}()")
  while at ~= nil do
    local value_at = find(reversed, "[^ \t\n\r]", at) or #reversed + 1
    local c = byte(reversed, value_at)
    local value_end
    if c == QUOTE then
      value_end = opening_quote(reversed, value_at)
    elseif c == CLOSE_OBJECT or c == CLOSE_ARRAY then
      value_end = opening_bracket(reversed, value_at, ahead)
    else
      value_end = match(reversed, "^[%d.E+%-aeflnrstu]+()", value_at)
      value_end = value_end and value_end - 1
    end
    local key_at = value_end and match(reversed, '^[ \t\n\r]*:[ \t\n\r]*()"', value_end + 1)
    local key_end = key_at and opening_quote(reversed, key_at)
    if not key_end then return nil end
    local key = sub(reversed, key_at + 1, key_end - 1)
    if find(key, "\\", 1, true) then return nil end
    if key == "ledom" then
      local inner = c == QUOTE and sub(reversed, value_at + 1, value_end - 1)
      return inner and not find(inner, "\\", 1, true) and reverse(inner) or nil
    end
    at = match(reversed, "^[ \t\n\r]*,()", key_end + 1)
  end
  return nil
end

local function find_model_at_end(body, length)
  -- Where it stands first, only the whole body says whether it comes again
  if match(body:getBytes(0, min(32, length)), '^[ \t\n\r]*{[ \t\n\r]*"model"') then return nil end
  for _, bytes in ipairs(TAIL_BYTES) do
    local model = bytes < length and find_model_in(body:getBytes(length - bytes, bytes))
    if model then return model end
  end
  return nil
end

-- Reads the body in pieces, because memory for a string of more than 128 KiB comes from the system and goes back to it each time. A top-level
-- key or a name that goes beyond a piece is read again with the next one; any other string is left between two pairs of backslashes.
local function find_model(body, length)
  local text, from, at = "", 0, 1
  local depth = 0
  local is_key, of_model, in_string = false, false, false
  local model = nil
  local ahead = { 0, 0, 0, 0, 0 }
  local looks = 0
  while looks < MAX_LOOKS do
    if at > #text then
      from = from + at - 1
      if from >= length then return depth == END and model or nil end
      text, at = body:getBytes(from, min(PIECE_BYTES, length - from)), 1
      for kind = 1, #NESTED do ahead[kind] = 0 end
    end
    local c = byte(text, at)
    looks = looks + 1
    if depth < 1 then
      if SPACE[c] then
        at = (find(text, "[^ \t\n\r]", at) or #text + 1)
      elseif depth == START and c == OPEN_OBJECT then
        depth, is_key, at = 1, true, at + 1
      else
        return nil
      end
    elseif in_string or c == QUOTE then
      local captured = not in_string and depth == 1 and (is_key or of_model)
      local close, more = closing_quote(text, in_string and at - 1 or at)
      looks = looks + more
      if close == nil then
        if more >= MAX_LOOKS or from + #text >= length then return nil end
        if captured then
          -- Longer than a piece, or begun late in this one
          if at == 1 then return nil end
          from, text, at = from + at - 1, "", 1
        else
          in_string = true
          local last = #text
          while last >= at and byte(text, last) == BACKSLASH do last = last - 1 end
          from, text, at = from + #text - (#text - last) % 2, "", 1
        end
      else
        if captured then
          local inner = sub(text, at + 1, close - 1)
          if find(inner, "\\", 1, true) then return nil end
          if is_key then of_model = inner == "model" else model = inner end
        end
        in_string = false
        at = close + 1
      end
    else
      if c == OPEN_OBJECT or c == OPEN_ARRAY then
        if depth == 1 and of_model then return nil end
        depth = depth + 1
      elseif c == CLOSE_OBJECT or c == CLOSE_ARRAY then
        depth = depth - 1
        if depth == 0 then depth = END end
      elseif c == COLON then
        if depth == 1 then is_key = false end
      elseif c == COMMA then
        if depth == 1 then is_key, of_model = true, false end
      elseif depth > 1 then
        at = nearest(text, at, ahead) - 1
      elseif not PLAIN[c] then
        return nil
      elseif of_model and not SPACE[c] then
        return nil
      end
      at = at + 1
    end
  end
  return nil
end

-- As encodeURIComponent has it, and with what else names of models are made of
local function encode(name)
  return (string.gsub(name, "[^%w%-%._~/:@]", function(character) return string.format("%%%02X", byte(character)) end))
end

local function is_for_peek(headers)
  if headers:get(":method") ~= "POST" or headers:get("content-encoding") ~= nil then return false end
  local path = headers:get(":path")
  local query = find(path, "?", 1, true)
  if not PATHS[query and sub(path, 1, query - 1) or path] then return false end
  local length = headers:get("content-length")
  return length == nil or (tonumber(length) or 0) <= MAX_BODY_BYTES
end

function envoy_on_request(handle)
  local headers = handle:headers()
  headers:remove(HEADER)
  if not is_for_peek(headers) then return end
  local body = handle:body()
  if body == nil then return end
  local length = body:length()
  if length == 0 or length > MAX_BODY_BYTES then return end
  local model = find_model_at_end(body, length) or find_model(body, length)
  if model == nil or model == "" or #model > MAX_NAME_BYTES then return end
  handle:headers():replace(HEADER, encode(model))
end
