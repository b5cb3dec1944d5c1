import { TextInput, type TextInputProps } from '@mantine/core';
import { groupedSerial } from '../serial';
import classes from './SerialInput.module.css';

/** A field for a serial; it takes any spacing and shows it in groups. */
export function SerialInput({
  onChange,
  value,
  ...props
}: Omit<TextInputProps, 'onChange'> & { onChange?: (value: string) => void }) {
  return (
    <TextInput
      {...props}
      size="md"
      classNames={{ input: classes.input }}
      inputMode="numeric"
      autoComplete="off"
      spellCheck={false}
      placeholder="00000 00000"
      maxLength={40}
      value={value}
      onChange={(e) => {
        const { value: typed, selectionStart } = e.currentTarget;
        // In the middle of the text the cursor would jump to the end.
        onChange?.(selectionStart === typed.length ? groupedSerial(typed) : typed);
      }}
      onBlur={(e) => {
        onChange?.(groupedSerial(e.currentTarget.value));
        props.onBlur?.(e);
      }}
    />
  );
}
